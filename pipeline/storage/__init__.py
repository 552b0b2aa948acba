"""The files of a run: their columns, and how they are written atomically, merged, locked and counted."""
