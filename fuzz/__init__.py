"""One small target for each parser that strangers feed; see `python -m fuzz --help`.

A target states one invariant: whatever comes is accepted, or refused with a documented error, and
nobody sees a byte that was not theirs. `python -m fuzz` throws mutated examples at the targets for
as long as you like; the tests throw a few hundred each time.
"""
