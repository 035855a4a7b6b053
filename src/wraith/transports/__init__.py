"""How the two ends of the tunnel find each other: one stream for each connection, and no more."""
