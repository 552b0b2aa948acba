"""One job: the driver, the task of each prompt, and the writing of its results."""
