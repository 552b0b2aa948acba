"""Evaluates runs from their Parquet files alone: fronts, hypervolume, costs, and one HTML page."""
