"""The formats of prompt files. Each reader yields the rows of one file, or refuses the file by row and reason."""
