"""Calls to interchangeable actors, with retries, timeouts and replacement of actors. Imports no Ray."""
