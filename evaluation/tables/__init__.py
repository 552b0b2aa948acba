"""Writes the tables of the report as files."""
