"""How a configuration becomes the options of the method for each task."""
