"""Runs on a Ray cluster: joins it, places actors on it, and runs prompts in cells."""
