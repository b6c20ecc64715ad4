"""What people are told about an alarm, in their language; the texts are Jinja2 templates that a plant may replace.

Each language is a folder of templates (`summary`, `expected`, `probability`, `why`, `action`, `cost`, `before`,
`description`).
A folder of the plant's own is looked into first, so that it need hold only the templates that differ.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from stream_detector.errors import UsageError
from stream_detector.messages import Alarm, Costs, Priority, TopSensor, from_iso
from stream_detector.names import printable
from stream_detector.operations.alarms.priority import expected_loss, priority_of
from stream_detector.operations.notify.last_time import LastTime

log = logging.getLogger(__name__)

LANGUAGES = ("en", "ko")
PARTS = ("expected", "why", "action", "cost")
MOST_REMEMBERED = 1_000
"""Alarms of which is remembered what was before: reminders of them are many."""
NotificationState = Literal["raised", "cleared", "suppressed"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell a receiver. `alarm` is the alarm in its raised form wherever that is known.

    `key` names it for receivers that drop repeats: the same alarm in the same state always has the same key.
    `ended_at` is epoch seconds, None while the alarm is up.
    """

    alarm: Alarm
    state: NotificationState
    priority: Priority
    ended_at: float | None
    texts: dict[str, str]
    key: str
    site: str = ""
    """The plant, where one receiver serves several."""


_ORDINARY = Alarm(
    id="example",
    asset="example",
    state="raised",
    raised_at="2026-05-01T10:00:00Z",
    expected_from="2026-05-01T10:02:00Z",
    expected_until="2026-05-01T10:04:00Z",
    probability=0.12,
    score=3.0,
    threshold=0.05,
    top_sensors=[TopSensor(sensor="x7", share=0.6, value=12.5, expected=10.25)],
    bundle="example",
    recipe="example",
    costs=Costs(),
    step_seconds=120.0,
)
"""Tries the templates before a real alarm does."""


class Writer:
    """Writes notifications.

    Args:
        language: one of `LANGUAGES`, or the name of a folder in `folder`.
        zone: in which times are shown.
        folder: templates of the plant's own, `LANGUAGE/PART.j2`.
        site: the plant, where one receiver serves several; empty = it is not named.
        before: finds what became of past alarms like one; None: that is not told. It is asked once for each alarm.

    A template of the plant's own that fails on some alarm must not keep that alarm from people: then our English text
    is sent.

    Raises:
        UsageError: there is no such language, a template is malformed, or it fails on an ordinary alarm.
    """

    def __init__(
        self,
        language: str = "en",
        zone: tzinfo = UTC,
        folder: Path | None = None,
        site: str = "",
        before: Callable[[Alarm], LastTime | None] | None = None,
    ) -> None:
        self._zone = zone
        self._site = site
        self._before: Callable[[Alarm], LastTime | None] | None = None
        self._known_before: dict[str, LastTime | None] = {}
        self._fallback = None if folder is None else Writer("en", zone, site=site, before=before)
        loaders: list[jinja2.BaseLoader] = [jinja2.PackageLoader("stream_detector.operations", "templates")]
        if folder is not None:
            loaders.insert(0, jinja2.FileSystemLoader(folder))
        # The texts are plain text, shown by receivers that escape for their own medium.
        environment = SandboxedEnvironment(
            loader=jinja2.ChoiceLoader(loaders),
            undefined=jinja2.StrictUndefined,
            autoescape=False,
        )
        environment.filters.update(number=_number, percent=_percent)
        try:
            self._templates = {
                part: environment.get_template(f"{language}/{part}.j2")
                for part in (*PARTS, "summary", "probability", "description")
            }
            # A language of the plant's own may be older than this part.
            self._before_template = _optional(environment, f"{language}/before.j2")
        except jinja2.TemplateNotFound as error:
            where = f" in {folder}" if folder else ""
            raise UsageError(
                f"there is no template {error.name}{where}; languages that are shipped: {', '.join(LANGUAGES)}"
            ) from None
        except jinja2.TemplateSyntaxError as error:
            raise UsageError(f"template {error.filename}, line {error.lineno}: {error.message}") from None
        try:
            self._render(self._context(_ORDINARY, "raised", None, ""))
            self._render({**self._context(_ORDINARY, "raised", None, ""), "before": LastTime(4, 3, 2.0, 4.0, 1)})
        except Exception as error:
            raise UsageError(f"a template of the notification texts cannot be filled in: {error}") from error
        self._before = before

    def write(
        self,
        alarm: Alarm,
        state: NotificationState,
        ended_at: float | None = None,
        suppressed_why: str = "",
        again: str = "",
    ) -> Notification:
        """Writes all texts of one notification.

        Args:
            alarm: in its raised form where known.
            state: what to tell.
            ended_at: epoch seconds when it was cleared or set aside.
            suppressed_why: why it was set aside, for state "suppressed".
            again: makes the key another one, for an alarm that comes back after it was set aside.
        """
        try:
            texts = self._render(self._context(alarm, state, ended_at, suppressed_why))
        except Exception as error:  # noqa: BLE001 - no text may keep an alarm from people
            if self._fallback is None:
                log.warning("no text can be written about alarm %s, it goes out without: %s", alarm.id, error)
                texts = dict.fromkeys((*PARTS, "description", "probability"), "")
                return Notification(
                    alarm,
                    state,
                    priority_of(alarm),
                    ended_at,
                    {**texts, "summary": f"{printable(alarm.asset)}: alarm {state}"},
                    self._key(alarm, state, again),
                    self._site,
                )
            log.warning("a template fails on alarm %s, our own text is sent instead: %s", alarm.id, error)
            return self._fallback.write(alarm, state, ended_at, suppressed_why, again)
        key = self._key(alarm, state, again)
        return Notification(alarm, state, priority_of(alarm), ended_at, texts, key, self._site)

    def _render(self, context: dict[str, Any]) -> dict[str, str]:
        for part in PARTS:
            context[part] = self._templates[part].render(context).strip()
        context["probability_text"] = self._templates["probability"].render(context).strip()
        context["before_text"] = ""
        if context["before"] is not None and self._before_template is not None:
            context["before_text"] = self._before_template.render(context).strip()
        told_before = {"before": context["before_text"]} if context["before_text"] else {}
        return {
            "summary": self._templates["summary"].render(context).strip(),
            "description": self._templates["description"].render(context).strip(),
            "probability": context["probability_text"],
            **{part: context[part] for part in PARTS},
            **told_before,
        }

    def _context(
        self, alarm: Alarm, state: NotificationState, ended_at: float | None, suppressed_why: str
    ) -> dict[str, Any]:
        expected_from = self._local(from_iso(alarm.expected_from))
        return {
            **alarm.model_dump(),
            "marks": alarm.marks,
            "provisional": alarm.provisional,
            "asset": printable(alarm.asset),
            "top_sensors": [{**top.model_dump(), "sensor": printable(top.sensor)} for top in alarm.top_sensors],
            "site": self._site,
            "state": state,
            "expected_date": expected_from.strftime("%Y-%m-%d"),
            "expected_from": _clock(expected_from),
            "expected_until": _clock(self._local(from_iso(alarm.expected_until))),
            "raised_at": _clock(self._local(from_iso(alarm.raised_at))),
            "cleared_at": None if ended_at is None else _clock(self._local(ended_at)),
            "zone": expected_from.tzname() or "local time",
            "stake": expected_loss(alarm),
            "suppressed_why": suppressed_why,
            "before": self._last_time(alarm) if state == "raised" else None,
        }

    def _last_time(self, alarm: Alarm) -> LastTime | None:
        if self._before is None:
            return None
        if alarm.id not in self._known_before:
            while len(self._known_before) >= MOST_REMEMBERED:
                del self._known_before[next(iter(self._known_before))]
            try:
                self._known_before[alarm.id] = self._before(alarm)
            except Exception:
                # What was before must not keep from people what is now.
                log.exception("what became of alarms like %s could not be found", alarm.id)
                self._known_before[alarm.id] = None
        return self._known_before[alarm.id]

    def action(self, alarm: Alarm) -> str:
        """What to do about it; our own words where the plant's fail."""
        try:
            return self._templates["action"].render(self._context(alarm, "raised", None, ""))
        except Exception:
            log.exception("the text of what to do about alarm %s could not be written", alarm.id)
            return "" if self._fallback is None else self._fallback.action(alarm)

    def _local(self, epoch_seconds: float) -> datetime:
        return datetime.fromtimestamp(epoch_seconds, self._zone)

    def _key(self, alarm: Alarm, state: NotificationState, again: str) -> str:
        # Two plants with assets of the same name and the same bundle have alarms with the same id.
        return ":".join(filter(None, [self._site, alarm.id, state, again]))


def _optional(environment: SandboxedEnvironment, name: str) -> jinja2.Template | None:
    try:
        return environment.get_template(name)
    except jinja2.TemplateNotFound:
        return None


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S" if moment.second else "%H:%M")


def _number(value: float) -> str:
    """Four significant digits, no exponent for the sizes that plants have.

    >>> _number(12.5), _number(1234567.0), _number(0.00031234)
    ('12.5', '1234567', '0.0003123')
    """
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def _percent(share: float) -> str:
    """
    >>> _percent(0.123), _percent(0.0512)
    ('12 %', '5.1 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
