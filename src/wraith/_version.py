"""The version, in one place: read by the package metadata and by `wraith --version`."""

__version__ = "0.1.0"
