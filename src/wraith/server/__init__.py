"""The server: who may enter, where they may go, and what is said about it."""
