"""Statistics of diagnostic accuracy and of segmentation, as pure functions over arrays.

The package knows nothing of runs or files and can be used on its own. Functions take lists, NumPy arrays or pandas
series and return an `Estimate` or a `Comparison` from `estimate`. They are grouped by question: `classification`,
`agreement`, `multireader`, `segmentation`, `calibration` and `subgroups`.
"""
