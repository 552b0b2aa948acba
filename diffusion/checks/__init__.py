"""Checks of a model's files that read no weights."""
