"""What the notebooks compute, as modules that the tests run."""
