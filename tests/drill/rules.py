"""The shipped rules for a drill: they wait a tenth of their time, and are otherwise as they are."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import DEPLOY

SHORTER = 10
LEAST_SECONDS = 60
"""A restart takes as long as it takes: nothing becomes shorter than this."""

LOOKS_BACK = "7d"
"""How long a plant is remembered; that stays as it is."""

REBUILD = "instance:stream_detector_rebuild_seconds:estimate > 60"
"""Nobody holds back a minute of records within ten minutes."""
REBUILD_IN_A_DRILL = "instance:stream_detector_rebuild_seconds:estimate > {seconds:g}"

NOT_DRILLED = {
    "StreamDetectorAlive",
    "StreamDetectorRenewalFailed",
    "StreamDetectorRenewalDown",
    "StreamDetectorRenewalStalled",
    "StreamDetectorRenewalProposed",
}
"""The sign of life always fires, and a round of renewal needs days of a plant; its rules have unit tests."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
RANGE = re.compile(r"\[(\w+)\]")
BEGINS_AGAIN = "StreamDetectorCommitStuck"
"""Its detector ends by itself after two minutes, here as anywhere: what carries the alert over that is no shorter."""
STARTS = "changes(process_start_time_seconds"
STARTS_WINDOW = "[240s]"
"""Three starts take as long as they take."""


def shortened(duration: str) -> str:
    """A tenth of a duration, at least a minute; what is no longer than a minute stays.

    >>> [shortened(one) for one in ("30s", "1m", "5m", "30m", "1h", "7d")]
    ['30s', '1m', '60s', '180s', '360s', '7d']
    """
    seconds = seconds_of(duration)
    if duration == LOOKS_BACK or seconds <= LEAST_SECONDS:
        return duration
    return f"{max(LEAST_SECONDS, seconds // SHORTER)}s"


def seconds_of(duration: str) -> int:
    """Seconds of a duration of Prometheus.

    >>> seconds_of("1m30s")
    90
    """
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


def shorten(rule: dict[str, Any], rebuild_seconds: float) -> dict[str, Any]:
    """One rule as the drill uses it."""
    expression = RANGE.sub(lambda found: f"[{shortened(found[1])}]", rule["expr"])
    if STARTS in expression:
        expression = RANGE.sub(STARTS_WINDOW, expression)
    expression = expression.replace(REBUILD, REBUILD_IN_A_DRILL.format(seconds=rebuild_seconds))
    waiting: dict[str, Any] = {key: shortened(rule[key]) for key in ("for", "keep_firing_for") if key in rule}
    if rule.get("alert") == BEGINS_AGAIN:
        del waiting["keep_firing_for"]
    return {**rule, "expr": expression, **waiting}


def write_rules(folder: Path, rebuild_seconds: float) -> Path:
    """Prometheus's configuration with the rules beside it, in this folder; returns the configuration."""
    source = DEPLOY / "prometheus"
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "rules").glob("*.yml")):
        content = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            group["rules"] = [shorten(rule, rebuild_seconds) for rule in group["rules"]]
        (folder / "rules" / path.name).write_text(yaml.safe_dump(content, width=1000, sort_keys=False))
    configuration = folder / "prometheus.yml"
    configuration.write_text((source / "prometheus.yml").read_text())
    return configuration


def shipped() -> list[dict[str, Any]]:
    """The alerts' rules as they are, in their order."""
    content = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "alerts.yml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def alerts() -> list[str]:
    """The names of all alerts, in the order of the rules."""
    return [rule["alert"] for rule in shipped()]


def waits() -> dict[str, str]:
    """{alert: how long its rule waits before it fires, in the drill and as shipped}."""
    return {
        rule["alert"]: f"{shortened(rule['for'])} / {rule['for']}" if "for" in rule else "0 / 0" for rule in shipped()
    }
