"""The command line: one module per command, which parses, calls `diagchd_batch.runs` and prints."""
