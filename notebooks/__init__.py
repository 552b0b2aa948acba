"""The computations of the notebooks, as modules that the tests can run."""
