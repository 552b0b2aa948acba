"""The files of a run: their columns, how they are written whole, merged, locked and counted."""
