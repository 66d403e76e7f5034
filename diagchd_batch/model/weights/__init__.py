"""Reads and writes the weights of a network.

`checkpoints` is the entry point. Each file format has a module: `own_format` for the checkpoints of this program, and
`original_format` for those of the original implementation.
"""
