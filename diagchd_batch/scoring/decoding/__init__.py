"""Decodes image files and reference masks to the model's grid, in the worker or in a child process with limits.

`file_reader` reads planned files from the source and decodes them with an `in_process` or an `isolated` decoder. The
file formats themselves are in `images.formats`.
"""
