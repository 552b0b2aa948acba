"""What a plan must know of the surrogate of a run: a given file, and the rounds."""
