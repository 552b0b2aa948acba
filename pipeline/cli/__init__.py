"""The command line: the arguments, the output and the exit status of each command."""
