"""Cost models: what training some layers asks of a client."""
