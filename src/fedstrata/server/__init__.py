"""The server: rounds, what comes in, what is recorded, and the session around them."""
