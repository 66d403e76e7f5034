"""`python -m diagchd_batch`: the command line, also where the console script is not on the PATH."""

from diagchd_batch.cli.main import main

main()
