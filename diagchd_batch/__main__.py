"""Lets `python -m diagchd_batch` run the command line."""

from diagchd_batch.cli.main import run_process

run_process()
