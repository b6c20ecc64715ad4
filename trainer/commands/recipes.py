"""`trainer recipes`: what can be fitted."""


def recipes() -> None:
    """List the recipes that come with the trainer."""
