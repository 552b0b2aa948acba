"""Counts and logs the actors' work, for the driver, its log and Prometheus."""
