"""Settings of the forwarder alone, from the environment (`STREAM_DETECTOR_FORWARD_*`); brokers and topics are in
`settings`.

The table in docs/operators.md is generated: `python -m stream_detector.operations.notify.forwarder_settings`.
"""

from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator
from pydantic_settings import SettingsConfigDict

from stream_detector.environment import EnvironmentSettings, setting
from stream_detector.errors import UsageError

PREFIX = "STREAM_DETECTOR_FORWARD_"


class ForwarderSettings(EnvironmentSettings):
    """To whom alarms go and how."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    alertmanager_urls: str = setting("", "addresses of Alertmanagers, separated by commas")
    webhook_urls: str = setting("", "addresses of webhooks, separated by commas")
    webhook_secret_file: Path | None = setting(None, "file with the secret that signs what webhooks get")
    language: str = setting("en", "language of the texts: en, ko, or a folder in the templates of your own")
    zone: str = setting("UTC", "time zone of the texts, e.g. Asia/Seoul")
    templates: Path | None = setting(None, "folder with templates of your own, LANGUAGE/PART.j2")
    console_url: str | None = setting(None, "address of the console, linked from Alertmanager's alerts")

    timeout_seconds: float = setting(10.0, "how long one attempt may take", "s", gt=0)
    longest_retry_seconds: float = setting(30.0, "longest wait between two attempts", "s", gt=0)
    repeat_seconds: float = setting(60.0, "how often Alertmanager is reminded of alarms that are up", "s", gt=0)
    forget_after_seconds: float = setting(86_400.0, "an alarm up for longer is not repeated any more", "s", gt=0)
    first_lookback_seconds: float = setting(3_600.0, "how far a new receiver looks back", "s", ge=0)

    standing_seconds: float = setting(3_600.0, "an alarm up for longer is standing", "s", gt=0)
    chattering_raises: int = setting(6, "an asset that raises as often as this within ... chatters", ge=2)
    chattering_seconds: float = setting(3_600.0, "... this time", "s", gt=0)

    metrics_port: int = setting(9109, "port of /metrics, /healthz and /readyz; 0 = any free one", ge=0, le=65_535)
    ledger_events: str = setting("", "names of the events that the ledger counts, separated by commas; none = all")
    ledger_days: float = setting(365.0, "how far back the ledger's metrics reach (event time)", "d", gt=0)

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


def split(value: str) -> list[str]:
    """The parts of a list that is separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


if __name__ == "__main__":
    print(ForwarderSettings.table(), end="")
