"""The client: one SSH session that comes back when it dies, and what is offered on top of it."""
