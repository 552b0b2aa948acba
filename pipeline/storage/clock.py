"""Durations as people read them."""


def clock(seconds: float) -> str:
    """Return a duration as MM:SS, or as H:MM:SS from one hour on; a negative one counts as 0."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
