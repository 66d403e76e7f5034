"""`python -m diagchd_batch` is the command line."""

from diagchd_batch.cli.main import main

main()
