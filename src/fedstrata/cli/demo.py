"""stub."""


def demo() -> None:
    """Show."""
