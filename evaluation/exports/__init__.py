"""Writes the results of a run in the layouts of other programs."""
