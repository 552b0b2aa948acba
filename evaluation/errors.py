"""The error of this room."""


class ReportError(Exception):
    """A report cannot be written; the message names the folder, the problem and the fix."""
