"""What a run will do, settled and checked before anything starts."""
