"""Computes what the report shows: fronts, hypervolume, intervals, costs and overlap."""
