"""Directories on a local disk or a mounted share."""
