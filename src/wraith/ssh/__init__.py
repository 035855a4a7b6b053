"""The only room that knows the SSH library.

Everything above sees sessions, streams and plain facts about keys. What of the library's internals
is touched stands in `connection.py`, and nowhere else.
"""
