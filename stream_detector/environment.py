"""Settings from environment variables: what each says of itself, and how a value that is not acceptable is named."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings

from stream_detector.errors import UsageError, in_words

LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$")
"""Names of the variables by which Kubernetes and container links tell of other services."""


def setting(default: Any, description: str, unit: str = "", **rules: Any) -> Any:
    """A field of `EnvironmentSettings`. `rules`: bounds, as pydantic's `Field` takes them."""
    return Field(default=default, description=description, json_schema_extra={"unit": unit}, **rules)


class EnvironmentSettings(BaseSettings):
    """Settings whose variables begin with `model_config["env_prefix"]`; every field is a `setting`."""

    elsewhere: ClassVar[tuple[str, ...]] = ()
    """Variables of that prefix that others read; one that ends in `_` is a prefix."""

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Settings from the environment; an override that is not None (an option of a command) wins.

        Raises:
            UsageError: a value is not acceptable, or a variable's name is none of ours; the message names it.
        """
        unknown = cls.unknown(os.environ)
        if unknown:
            raise UsageError("; ".join(unknown))
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            raise UsageError("; ".join(map(cls._explain, error.errors()))) from None

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config['env_prefix']}{name.upper()}"

    @classmethod
    def unknown(cls, environment: Mapping[str, str]) -> list[str]:
        """What to say of each variable that has our prefix and is read by nobody: a slip of the pen, in silence."""
        prefix = cls.model_config["env_prefix"]
        ours = [cls.variable(name) for name in cls.model_fields]
        names = [*ours, *(other for other in cls.elsewhere if not other.endswith("_"))]
        said = []
        for name in sorted(environment):
            upper = name.upper()
            read = upper in ours or any(
                upper.startswith(other) if other.endswith("_") else upper == other for other in cls.elsewhere
            )
            # Kubernetes tells every pod of every Service in its namespace, under the Service's name.
            of_a_service = LINK.search(upper) or environment[name].startswith(("tcp://", "udp://"))
            if upper.startswith(prefix) and not read and not of_a_service:
                near = get_close_matches(upper, names, n=3, cutoff=0.85)
                hint = f"did you mean {' or '.join(near)}?" if near else "docs/settings.md lists them all"
                said.append(f"{name} is no setting; {hint}")
        return said

    @classmethod
    def describe(cls) -> list[tuple[str, str, str, str]]:
        """(variable, default, unit, description) of every setting, in the order of the class."""
        rows = []
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            default = "" if field.default is None else str(field.default)
            rows.append((cls.variable(name), default, str(extra.get("unit", "")), field.description or ""))
        return rows

    @classmethod
    def table(cls) -> str:
        """`describe` as a table in Markdown."""
        lines = ["| variable | default | unit | meaning |", "|---|---|---|---|"]
        for name, default, unit, text in cls.describe():
            lines.append(f"| `{name}` | {f'`{default}`' if default else ''} | {unit} | {text} |")
        return "\n".join(lines) + "\n"

    @classmethod
    def _explain(cls, problem: Mapping[str, Any]) -> str:
        where = ".".join(str(part) for part in problem["loc"])
        # The value is left out: it may be a secret.
        return f"{cls.variable(where)}: {in_words(problem)}" if where else in_words(problem)
