"""What clients and server send each other: messages, how they are written as bytes, and what is refused on arrival."""
