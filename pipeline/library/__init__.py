"""The library: one front from a loaded pipeline, and whole runs, for notebooks and scripts. No Ray is needed."""
