"""The errors that a user can cause or must act on.

Each message names the thing, the value found, the value wanted and what to do next. The commands print the message
and exit with the code; a traceback is shown only for faults of our own.
"""

import re
from collections.abc import Mapping
from typing import Any

PASSWORD = re.compile(r"(//[^/\s:@]*):[^/\s]*@")


def in_words(mistake: Mapping[str, Any]) -> str:
    """What one of pydantic's `error.errors()` says is wrong, without the class of the exception before it."""
    return str(mistake["msg"]).removeprefix("Value error, ")


def without_password(text: str) -> str:
    """The text with no password in the addresses that it holds: messages are seen and kept by many.

    >>> without_password("http://kim:secret@historian:80/runs does not answer")
    'http://kim:...@historian:80/runs does not answer'
    """
    return PASSWORD.sub(r"\1:...@", text)


class StreamDetectorError(Exception):
    """Root of the tree. `exit_code` is what a command that ends with this error returns to the shell."""

    exit_code = 2


class UsageError(StreamDetectorError):
    """An argument, a setting or a file path is wrong."""


class DataError(StreamDetectorError):
    """A data file does not hold what was promised: columns, types, order of time."""


class RecipeError(StreamDetectorError):
    """A recipe is unknown, malformed or contradicts itself."""


class BundleError(StreamDetectorError):
    """A bundle is missing a file, was changed, is of another format, or does not score as it did when written."""


class MixedProcessorsError(StreamDetectorError):
    """This worker's scores round otherwise than those of the worker whose partition it was given."""


class UnknownNameError(StreamDetectorError):
    """The bus speaks of a sensor or an asset that the bundle does not know, and the settings call that a fault."""


class BrokerError(StreamDetectorError):
    """The message broker cannot be reached or refuses what is needed."""

    exit_code = 1


class RegistryError(StreamDetectorError):
    """The schema registry does not answer, or refuses."""


class StoreError(StreamDetectorError):
    """The object store of a registry of bundles does not answer, or refuses."""

    exit_code = 1


class SchemaError(StreamDetectorError):
    """A schema in the registry is none, or of a kind that cannot be read; its records are left as they are."""


class StalledError(StreamDetectorError):
    """The worker truly makes no progress; the supervisor should start it again (75 is sysexits' EX_TEMPFAIL)."""

    exit_code = 75
