"""What Wraith talks about: addresses, destinations, forwards and credentials.

Each value is frozen, parses from the text that users write and prints back to it; none of them
does anything. What must stay secret (a destination, a password) hides itself from `repr` and
`str`, so that no log line and no traceback can give it away.
"""
