"""The messages on the topics: what the plant sends, and what the detector answers.

These models are the public contract; `stream-detector schemas` exports them as JSON Schema. The hot path decodes
readings with `stream_detector.decoding.decoder`, which accepts exactly the same input.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

MILLISECONDS_FROM = 1e11
"""A numeric time at or above this is epoch milliseconds, below it epoch seconds."""


EARLIEST, LATEST = -62_104_060_800.0, 253_370_764_800.0
"""Epoch seconds between which the times of messages lie: the years 2 to 9998, so that a time zone and the lead of an
alarm never lead out of the calendar. (Readings are held to 1900 to 2199, see `decoding.event_times`.)"""

MOST_SHELVED_SECONDS = 7 * 86_400.0
"""A shelving ends after a week at the latest: an asset that nobody is told of for longer is out of service."""


def to_iso(epoch_seconds: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, e.g. `2026-05-01T00:02:00Z`; a fraction is kept to the microsecond.

    >>> to_iso(0.0), to_iso(1.5)
    ('1970-01-01T00:00:00Z', '1970-01-01T00:00:01.500000Z')
    """
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat().replace("+00:00", "Z")


def from_iso(text: str) -> float:
    """ISO 8601 with a zone as epoch seconds.

    Raises:
        ValueError: the text is no ISO 8601 time, or names no zone.

    >>> from_iso("1970-01-01T00:00:01.5Z"), from_iso("1970-01-01T09:00:00+09:00")
    (1.5, 0.0)
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone; append Z for UTC or an offset such as +09:00")
    return moment.timestamp()


def to_epoch_seconds(time: str | float) -> float:
    """A message's time as epoch seconds (see `MILLISECONDS_FROM`).

    Raises:
        ValueError: the text is no ISO 8601 time, or names no zone.

    >>> to_epoch_seconds("1970-01-01T00:00:01.5Z"), to_epoch_seconds(120), to_epoch_seconds(1_777_593_720_000)
    (1.5, 120.0, 1777593720.0)
    """
    if isinstance(time, str):
        return from_iso(time)
    return time / 1000.0 if time >= MILLISECONDS_FROM else float(time)


class Message(BaseModel):
    """Base of all messages: unknown fields are ignored, numbers must be finite numbers (no text, no booleans)."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True, defer_build=True)


def _of_our_calendar(time: str | float) -> str | float:
    if not EARLIEST <= to_epoch_seconds(time) < LATEST:
        raise ValueError(f"time {str(time)[:40]!r} lies outside the years 2 to 9998")
    return time


def _iso_of_our_calendar(time: str) -> str:
    _of_our_calendar(time)
    return time


Time = Annotated[
    str | float,
    AfterValidator(_of_our_calendar),
    Field(description="ISO 8601 with zone, or epoch seconds (milliseconds if at least 1e11)"),
]
IsoTime = Annotated[str, AfterValidator(_iso_of_our_calendar), Field(description="ISO 8601 with zone")]


class Reading(Message):
    """One sensor's value at one time. The Kafka key is the asset unless `asset` overrides it."""

    sensor: str
    time: Time
    value: float | None = Field(description="null = missing")
    asset: str | None = None
    quality: str = Field(default="good", description="anything but 'good' = missing")


class Row(Message):
    """All sensors of one step at once; null = missing."""

    time: Time
    values: dict[str, float | None]
    asset: str | None = None


class Item(Message):
    """One of several readings in a record; what it does not say is the record's."""

    sensor: str
    value: float | None = Field(description="null = missing")
    time: Time | None = None
    asset: str | None = None
    quality: str = Field(default="good", description="anything but 'good' = missing")


class Readings(Message):
    """Several readings in one record, of any times; those of one asset are handled in the order of their times."""

    time: Time
    readings: list[Item]
    asset: str | None = None


class Block(Message):
    """Consecutive samples of one fast sensor, the first of them at `time`."""

    sensor: str
    time: Time
    step_seconds: float = Field(gt=0)
    values: list[float | None]
    asset: str | None = None


class Event(Message):
    """Something that happened to the asset, e.g. a break. On the readings topic decisions may depend on it."""

    time: Time
    event: str = Field(min_length=1)
    asset: str | None = None


class LoggedEvent(Event):
    """An event as people log it (topic `plant.events`): late, twice, or corrected afterwards.

    Of several records with the same `id` the one with the newest `logged_at` counts, whatever order they arrive in.
    Without an `id`, records of the same asset, time and name are one event.
    """

    id: str | None = Field(default=None, description="names the event, so that a later record can correct it")
    until: Time | None = Field(default=None, description="end of a state that began at `time`; null = a moment")
    ongoing: bool = Field(default=False, description="true: a state that has begun and goes on")
    logged_at: Time | None = Field(default=None, description="when this version was written; the newest one counts")
    retracted: bool = Field(default=False, description="true: it never happened")
    who: str | None = None


class TopSensor(Message):
    """One sensor's part in an alarm. `expected` is null where the recipe reconstructs no value."""

    sensor: str
    share: float = Field(ge=0, le=1, description="part of the evidence, the shares of all sensors sum to 1")
    value: float | None
    expected: float | None


class Costs(Message):
    """What each outcome costs, in the plant's currency units (tn = true negative and so on)."""

    tn: float = 0.0
    fp: float = 5.0
    fn: float = 100.0
    tp: float = 5.0


class Alarm(Message):
    """Raised or cleared. `id` is a function of asset, raise step and bundle, so a repeat replaces itself."""

    id: str
    asset: str
    state: Literal["raised", "cleared"]
    raised_at: IsoTime = Field(description="start of the step that raised it, event time")
    cleared_at: IsoTime | None = Field(default=None, description="event time; null while raised")
    expected_from: IsoTime
    expected_until: IsoTime
    probability: float | None = Field(description="P(event within the lead window); null where not calibrated")
    score: float
    threshold: float
    top_sensors: list[TopSensor]
    bundle: str
    recipe: str
    costs: Costs
    step_seconds: float = Field(
        gt=0, description="the grid's step, so that a reader can tell which steps the alarm was up on"
    )
    marks: Literal["events", "states"] = Field(
        default="events", description="states: it says that something is wrong now, not that an event is to come"
    )
    held_back: bool = Field(
        default=False,
        description="true: people are not told of it, so that what follows says what the others prevent",
    )
    provisional: bool = Field(
        default=False,
        description="true: of a machine that training never saw, whose scale is still learnt from its first steps",
    )

    @model_serializer(mode="wrap")
    def _without_default(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The bytes of an alarm of the first kind are what they were before there were others.
        body: dict[str, Any] = write(self)
        if self.marks == "events":
            body.pop("marks", None)
        if not self.held_back:
            body.pop("held_back", None)
        if not self.provisional:
            body.pop("provisional", None)
        return body


class Score(Message):
    """One scored step (topic `detector.scores`, optional). `time` is the start of the step."""

    asset: str
    time: IsoTime
    score: float
    threshold: float | None = Field(description="null where no threshold pays, so that nothing is raised")
    probability: float | None
    alarm: bool
    degraded: int = Field(description="number of sensors that are silent or missing and were masked")
    top_sensors: list[TopSensor] = []
    bundle: str


class AssetGlance(Message):
    """How one asset stands (topic `detector.assets`, compacted): every console shows the whole plant by these."""

    asset: str = Field(min_length=1)
    worker: str = Field(description="who holds the asset")
    time: IsoTime = Field(description="end of its newest step, event time")
    received_at: IsoTime = Field(description="when that step closed, wall clock of the worker")
    step_seconds: float = Field(gt=0)
    score: float | None
    threshold: float | None = Field(description="null where no threshold pays")
    probability: float | None
    alarm: bool
    degraded: int = Field(ge=0, description="number of sensors that are silent or missing")
    warming_up: bool
    sensors: int = Field(ge=0, description="number of sensors of the bundle")
    bundle: str
    top_sensors: list[TopSensor] = []
    again_within: float = Field(gt=0, description="seconds after which a newer step is told at the latest")
    not_running: bool = Field(default=False, description="the machine stands or starts up: nothing is judged")
    scale_steps: int = Field(
        default=0, ge=0, description="steps that the scale of a provisional machine is learnt from"
    )
    scale_steps_wanted: int = Field(
        default=0, ge=0, description="steps that fix it; 0 = the machine is not provisional"
    )
    silent: bool = Field(
        default=False, description="nothing of it has come since another bundle decided; time = its last reading"
    )


class OperatingChange(Message):
    """A machine begins or ceases to run (topic `detector.operating`): the ledger judges nobody while it stands.

    It says how it is from `time` on until the next one. A restart says again how each machine is.
    """

    asset: str = Field(min_length=1)
    time: IsoTime = Field(description="start of the first step that it holds for, event time")
    running: bool = Field(description="false: it stands or starts up, and its steps are not judged")
    step_seconds: float = Field(ge=1e-6)
    lead_from_steps: int = Field(ge=0, le=100_000, description="an alarm speaks of events so many steps after it, ...")
    lead_until_steps: int = Field(ge=0, le=100_000, description="... up to so many")
    bundle: str


MOST_CHARACTERS = 256
"""Of a name or an id in what people say."""

FeedbackAction = Literal[
    "acknowledge", "shelve", "unshelve", "out-of-service", "in-service", "real", "false-alarm", "unjudge", "acted"
]


class Feedback(Message):
    """What a person says about an alarm (topic `operator.feedback`), from the console or `stream-detector feedback`.

    Acknowledging, judging (`real`, `false-alarm`) and taking a judgement back (`unjudge`) name an alarm; shelving and
    taking out of service act on the asset. `acted`: somebody did something about it, such as slowing the machine down.
    It names an alarm; a signal of the plant may name none, and then means those of the asset that speak of `at`.
    """

    asset: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    action: FeedbackAction
    alarm: str | None = Field(default=None, max_length=MOST_CHARACTERS, description="id of the alarm")
    who: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    at: IsoTime = Field(description="when, ISO 8601 with zone")
    until: IsoTime | None = Field(
        default=None, description="end of the shelving, ISO 8601 with zone, at most 7 days after `at`"
    )
    reason: str | None = Field(default=None, max_length=4 * MOST_CHARACTERS)

    @model_validator(mode="after")
    def _complete(self) -> "Feedback":
        if self.action in ("acknowledge", "real", "false-alarm", "unjudge") and not self.alarm:
            raise ValueError(f"{self.action} needs the id of the alarm")
        if self.action in ("shelve", "out-of-service") and not self.reason:
            raise ValueError(f"{self.action} needs a reason")
        if self.action == "shelve":
            lasts = -1.0 if self.until is None else from_iso(self.until) - from_iso(self.at)
            if lasts <= 0:
                raise ValueError("shelve needs an end (until) later than at")
            # A second for clocks and roundings of whoever adds the days up.
            if lasts > MOST_SHELVED_SECONDS + 1.0:
                raise ValueError(
                    f"a shelving lasts {MOST_SHELVED_SECONDS / 86_400:g} days at most, not {lasts / 86_400:.3g}; "
                    "an asset that must rest for longer is taken out of service"
                )
        return self


AlarmState = Literal["unacknowledged", "acknowledged", "returned", "normal", "shelved", "out-of-service", "held-back"]
"""ISA-18.2 / IEC 62682: `returned` is "returned to normal, unacknowledged"; `held-back` suppressed by design."""

Priority = Literal["low", "medium", "high"]


class AlarmStateChange(Message):
    """One change of state (topic `detector.alarm-states`); `alarm` is null for a shelving and the like of the asset."""

    asset: str
    alarm: str | None
    state: AlarmState
    previous: AlarmState
    priority: Priority | None = None
    at: IsoTime = Field(description="when, ISO 8601 in UTC, wall clock")
    who: str = Field(description="a person, or `detector` / `forwarder` for changes that no person made")
    why: str
    until: IsoTime | None = Field(default=None, description="end of a shelving")
    raised_at: IsoTime | None = Field(default=None, description="of the alarm, event time")
    up: bool | None = Field(default=None, description="whether the alarm is raised and not cleared")
    acknowledged: bool | None = None
    cleared_at: IsoTime | None = Field(default=None, description="of the alarm, event time; null while up")
    covered_until: IsoTime | None = Field(
        default=None, description="of an alarm that was cleared, event time: one raised by then goes on from it"
    )


class RenewalDecision(Message):
    """What a round of renewal came to (topic `detector.renewal`). One told again has the same `id` and content.

    A candidate on trial is decided about twice: what the trial came to has an id of its own, and the same `round`.
    """

    id: str = Field(
        description="the alias, or group and glob of a line, and the round; of what a trial came to, `/trial` behind it"
    )
    alias: str = Field(default="", description="in the registry, whose bundle decides; empty of a line of a table")
    group: str = Field(default="", description="consumer group of whose table a line is renewed; empty of an alias")
    assets: str = Field(default="", description="the line's glob over names of assets; empty of an alias")
    round: IsoTime = Field(description="event time up to which data was looked at")
    at: IsoTime = Field(description="when it was decided, wall clock")
    who: str
    outcome: Literal["promoted", "proposed", "trial", "kept", "failed"] = Field(
        description="promoted: the alias stands for the candidate, or the line names it; proposed: a person may "
        "promote it; trial: it is the challenger, whose book decides; kept: the champion stays; failed: there is no "
        "candidate, and nothing was changed"
    )
    why: str
    trigger: str = Field(description="why a candidate was fitted")
    champion: str | None = Field(description="id of the bundle that decided then")
    candidate: str | None = Field(description="id of the bundle that was fitted")
    verdict: dict[str, Any] = Field(default={}, description="savings of both and their paired difference")

    @property
    def of(self) -> str:
        """What was renewed, in a word."""
        return self.alias or f"{self.group}/{self.assets}"


class DeadLetter(Message):
    """A record that could not be used, as it came; of the MQTT bridge, a message that did not become one."""

    topic: str = Field(description="that it came from; `mqtt:` and the topic there, if it came by the bridge")
    partition: int = Field(description="-1 if it came by the bridge")
    offset: int = Field(description="-1 if it came by the bridge")
    reason: str = Field(description="one of a small fixed set: malformed, unknown-sensor, future, ...")
    detail: str = Field(default="", description="what was found, for people")
    raw: str | None = Field(description="base64 of the value, cut at 64 KiB; null for a tombstone")
    key: str | None = Field(description="base64 of the key")
    timestamp_ms: int


def to_bytes(message: Message) -> bytes:
    """Canonical JSON: the same message is always the same bytes (keys in the order of the model, no spaces)."""
    return orjson.dumps(message.model_dump(mode="json"))


PUBLIC: dict[str, type[Message]] = {
    "reading": Reading,
    "row": Row,
    "block": Block,
    "readings": Readings,
    "event": Event,
    "alarm": Alarm,
    "score": Score,
    "asset-glance": AssetGlance,
    "operating-change": OperatingChange,
    "dead-letter": DeadLetter,
    "logged-event": LoggedEvent,
    "feedback": Feedback,
    "alarm-state-change": AlarmStateChange,
    "renewal-decision": RenewalDecision,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of every public message, by name."""
    return {name: model.model_json_schema() for name, model in PUBLIC.items()}
