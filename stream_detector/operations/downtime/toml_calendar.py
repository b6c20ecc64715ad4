"""A maintenance calendar of our own form, in TOML: single windows, and weekly ones by the clock of a place."""

import tomllib
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator, model_validator

from stream_detector.detection.config import Config
from stream_detector.operations.downtime.planned import Planned, in_span

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[str, ...] = get_args(Weekday)


class SingleWindow(Config):
    """One window; times with an offset, or by the clock of `zone`."""

    assets: str = "*"
    what: str = ""
    begin: datetime = Field(alias="from")
    until: datetime
    zone: str | None = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        return None if value is None else _known(value)

    @model_validator(mode="after")
    def _in_order(self) -> "SingleWindow":
        for moment in (self.begin, self.until):
            if moment.tzinfo is None and self.zone is None:
                raise ValueError(f'{moment} has no offset; write for example {moment}+02:00, or zone = "Europe/Berlin"')
        if self.seconds(self.until) <= self.seconds(self.begin):
            raise ValueError(f"until = {self.until} is not after from = {self.begin}")
        return self

    def seconds(self, moment: datetime) -> float:
        """Epoch seconds."""
        if moment.tzinfo is None and self.zone is not None:
            moment = moment.replace(tzinfo=ZoneInfo(self.zone))
        return moment.timestamp()

    def around(self, begin: float, until: float) -> list[Planned]:  # noqa: ARG002 - it is one, whatever the span
        """All that may have a part in the span."""
        return [Planned(self.assets, self.seconds(self.begin), self.seconds(self.until), self.what)]


class WeeklyWindow(Config):
    """A window on some days of each week, by the clock of `zone`; one whose end is not later ends on the next day."""

    assets: str = "*"
    what: str = ""
    every: tuple[Weekday, ...] = Field(min_length=1)
    begin: time = Field(alias="from")
    until: time
    zone: str = "UTC"
    first: date | None = Field(default=None, description="no window begins before this day")
    last: date | None = Field(default=None, description="or after this one")

    @field_validator("every", mode="before")
    @classmethod
    def _one_or_all(cls, value: Any) -> Any:
        return WEEKDAYS if value == "day" else (value,) if isinstance(value, str) else value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return _known(value)

    def around(self, begin: float, until: float) -> list[Planned]:
        """All that may have a part in the span."""
        zone = ZoneInfo(self.zone)
        day = datetime.fromtimestamp(begin, UTC).date() - timedelta(days=2)
        final = datetime.fromtimestamp(until, UTC).date() + timedelta(days=1)
        day, final = max(day, self.first or day), min(final, self.last or final)
        found = []
        while day <= final:
            if WEEKDAYS[day.weekday()] in self.every:
                ends = day + timedelta(days=int(self.until <= self.begin))
                begins, over = datetime.combine(day, self.begin, zone), datetime.combine(ends, self.until, zone)
                found.append(Planned(self.assets, begins.timestamp(), over.timestamp(), self.what))
            day += timedelta(days=1)
        return found


class TomlCalendar(Config):
    """The whole file: one table `[[window]]` each."""

    window: tuple[Annotated[SingleWindow | WeeklyWindow, Field(union_mode="left_to_right")], ...] = ()

    def between(self, begin: float, until: float) -> list[Planned]:
        """As `Calendar`."""
        return in_span((planned for window in self.window for planned in window.around(begin, until)), begin, until)


def parse(text: str) -> TomlCalendar:
    """The calendar in a TOML text; ValueError says which window is wrong, and how."""
    content = tomllib.loads(text)
    windows = content.pop("window", None)
    if content or not isinstance(windows, list):
        raise ValueError("it holds something else than tables [[window]]")
    return TomlCalendar(window=tuple(_window(number, window) for number, window in enumerate(windows, start=1)))


def _window(number: int, content: Any) -> SingleWindow | WeeklyWindow:
    kind = WeeklyWindow if isinstance(content, dict) and "every" in content else SingleWindow
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"window {number}: {where + ': ' if where else ''}{said}") from None


def _known(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{zone!r} is no time zone; write for example Europe/Berlin") from None
    return zone
