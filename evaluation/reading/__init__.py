"""Reads the files of runs, checks them, and finds the fronts that can be compared."""
