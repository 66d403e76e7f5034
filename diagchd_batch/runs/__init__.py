"""What each command does, as typed functions. The command line and the jobs on a cluster call them and print."""
