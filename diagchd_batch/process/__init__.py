"""What concerns this operating-system process: signals, the output of native libraries, and temporary files.

`scratch_files` makes temporary files and directories. Such a directory is an `owner_only_directory`, and it lies below
the directory that `trusted_tmpdir` finds.
"""
