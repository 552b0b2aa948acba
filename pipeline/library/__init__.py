"""The library: one front from a loaded pipeline, whole runs, and images that exist already. No Ray is needed."""
