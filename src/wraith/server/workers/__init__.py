"""`--workers N`: one parent that listens and keeps the books, and N processes that serve.

    parent    binds, accepts, gives each socket to a worker, and keeps what is server-wide
    process   one worker as its parent sees it: started, watched, started again
    worker    the same worker from inside: a server that gets its connections handed over
    link      what the two say to each other
    sockets   how a socket goes from one to the other
    exchange  the event bus, joined over all workers
    tally     the counts of all workers, as one

The decision record 026 says why the parent accepts.
"""
