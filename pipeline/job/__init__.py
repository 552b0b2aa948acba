"""The execution of a run: the driver, the work on each prompt, and the writing of the results."""
