"""Whole runs of the demo from the command line, for the tests beside this file."""

from tests.support.runs import ROOT, command, run, same_bits

__all__ = ["ROOT", "command", "run", "same_bits"]
