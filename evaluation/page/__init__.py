"""Builds the HTML page of the report."""
