"""Reaching a destination, directly or through whatever stands between."""
