"""Settings of the forwarder alone, from the environment (`STREAM_DETECTOR_FORWARD_*`); brokers and topics are in
`settings`.

The table in docs/alarms.md is generated: `python -m stream_detector.operations.forwarder_settings`.
"""

from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream_detector.errors import UsageError

PREFIX = "STREAM_DETECTOR_FORWARD_"


def _setting(default: Any, description: str, unit: str = "", **rules: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"unit": unit}, **rules)


class ForwarderSettings(BaseSettings):
    """To whom alarms go and how."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    alertmanager_urls: str = _setting("", "addresses of Alertmanagers, separated by commas")
    webhook_urls: str = _setting("", "addresses of webhooks, separated by commas")
    webhook_secret_file: Path | None = _setting(None, "file with the secret that signs what webhooks get")
    language: str = _setting("en", "language of the texts: en, ko, or a folder in the templates of your own")
    zone: str = _setting("UTC", "time zone of the texts, e.g. Asia/Seoul")
    templates: Path | None = _setting(None, "folder with templates of your own, LANGUAGE/PART.j2")
    console_url: str | None = _setting(None, "address of the console, linked from Alertmanager's alerts")

    timeout_seconds: float = _setting(10.0, "how long one attempt may take", "s", gt=0)
    longest_retry_seconds: float = _setting(30.0, "longest wait between two attempts", "s", gt=0)
    repeat_seconds: float = _setting(60.0, "how often Alertmanager is reminded of alarms that are up", "s", gt=0)
    forget_after_seconds: float = _setting(86_400.0, "an alarm up for longer is not repeated any more", "s", gt=0)
    first_lookback_seconds: float = _setting(3_600.0, "how far a new receiver looks back", "s", ge=0)

    standing_seconds: float = _setting(3_600.0, "an alarm up for longer is standing", "s", gt=0)
    chattering_raises: int = _setting(6, "an asset that raises as often as this within ... chatters", ge=2)
    chattering_seconds: float = _setting(3_600.0, "... this time", "s", gt=0)

    metrics_port: int = _setting(9109, "port of /metrics, /healthz and /readyz; 0 = any free one", ge=0, le=65_535)
    ledger_events: str = _setting("", "names of the events that the ledger counts, separated by commas; none = all")
    ledger_days: float = _setting(365.0, "how far back the ledger's metrics reach (event time)", "d", gt=0)

    @field_validator("alertmanager_urls", "webhook_urls")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for url in split(value):
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url!r} does not begin with http:// or https://")
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value!r} is no time zone; write for example Asia/Seoul") from None
        return value

    def webhook_secret(self) -> bytes | None:
        """The secret, without the line's end.

        Raises:
            UsageError: the file cannot be read or is empty.
        """
        if self.webhook_secret_file is None:
            return None
        try:
            secret = self.webhook_secret_file.read_bytes().strip()
        except OSError as error:
            raise UsageError(f"{PREFIX}WEBHOOK_SECRET_FILE cannot be read: {error}") from None
        if not secret:
            raise UsageError(f"{PREFIX}WEBHOOK_SECRET_FILE = {self.webhook_secret_file} is empty")
        return secret

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Settings from the environment; an override that is not None (an option of the command) wins.

        Raises:
            UsageError: a value is not acceptable; the message names the variable.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            problems = ((str(problem["loc"][0]), problem["msg"]) for problem in error.errors())
            raise UsageError("; ".join(f"{PREFIX}{name.upper()}: {text}" for name, text in problems)) from None


def split(value: str) -> list[str]:
    """The parts of a list that is separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def to_markdown() -> str:
    """The table of docs/alarms.md."""
    lines = ["| variable | default | unit | meaning |", "|---|---|---|---|"]
    for name, field in ForwarderSettings.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        default = "" if field.default in (None, "") else f"`{field.default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {extra.get('unit', '')} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(to_markdown(), end="")
