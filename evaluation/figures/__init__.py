"""Draws the figures with matplotlib."""
