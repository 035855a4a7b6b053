"""The one error of the shim."""


class CannotStart(Exception):
    """One sentence: what is missing, and what mends it."""
