"""Offline evaluation of runs, from their Parquet files alone: fronts, hypervolume, costs, one HTML page."""
