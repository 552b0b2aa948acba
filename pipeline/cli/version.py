"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version


def srsoup_version() -> str:
    """The version of the installed package; `unknown` for a checkout that is not installed."""
    try:
        return version("srsoup")
    except PackageNotFoundError:
        return "unknown"
