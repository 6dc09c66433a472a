"""Components of the user's own: checks of their methods and of what these return."""
