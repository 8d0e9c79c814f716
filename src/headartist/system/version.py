"""Which release of the package this is."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Look up the installed version; "0+unknown" where the source tree is run without being installed."""
    try:
        return version("headartist")
    except PackageNotFoundError:
        return "0+unknown"
