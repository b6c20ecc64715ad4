"""`trainer recipes`: what can be fitted."""


def command() -> None:
    """List the recipes that come with the trainer."""
