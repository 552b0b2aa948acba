"""The error that a report raises."""


class ReportError(Exception):
    """The report cannot be written. The message names the folder, the problem and the fix."""
