"""Calls to equal actors, and what is done when one fails. No Ray here."""
