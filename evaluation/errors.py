"""The errors that a report raises."""


class ReportError(ValueError):
    """The report cannot be written. The message names the folder, the problem and the fix."""


class TableError(ReportError):
    """The runs do not have what a table shows. The message says what is missing and the fix."""
