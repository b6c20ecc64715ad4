"""What an installation leaves out unless it is asked for: the modules of the extras in pyproject.toml."""

from importlib.util import find_spec

from stream_detector.errors import UsageError

TRAIN = ("pandas", "plotly", "pyarrow", "scipy", "sklearn", "threadpoolctl", "torch")
EXTRA_OF = {
    **dict.fromkeys(TRAIN, "train"),
    "adbc_driver_postgresql": "sql",
    "fastavro": "registry",
    "grpc_tools": "registry",
    "icalendar": "calendar",
    "recurring_ical_events": "calendar",
    "mlflow": "mlflow",
    "obstore": "s3",
    "openpyxl": "excel",
    "paho": "mqtt",
}
"""Module -> the extra that brings it."""


def need(what: str, *modules: str) -> None:
    """Check that modules of extras are installed, without importing them: that takes seconds.

    what: begins the message, e.g. "`trainer fit`".
    Raises:
        UsageError: one is not installed; the message says what to install.
    """
    absent = [name for name in modules if find_spec(name) is None]
    if absent:
        extras = ",".join(sorted({EXTRA_OF[name] for name in absent}))
        raise UsageError(
            f"{what} needs {', '.join(absent)}, which this installation leaves out; "
            f"pip install 'stream-detector[{extras}]'"
        )
