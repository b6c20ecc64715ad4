"""The limits that a group runs under: they decide which assets are refused or forgotten, and so what its alarms are.

They come from each worker's environment and must be the same for all. The group writes them down with the bundle that
decides (`group_facts.BundleSwitch`): a worker that finds others ends, and an audit takes the group's.
"""

from collections.abc import Mapping
from typing import Any

from stream_detector.engine.limits import Limits
from stream_detector.errors import UsageError
from stream_detector.settings import Settings

SHARED = ("max_assets", "evict_after_seconds", "evict_after_records", "allowed_assets")
"""The other limits bound memory alone and change no result."""


def limits_of(settings: Settings) -> Limits:
    """The limits that the environment sets."""
    return Limits(
        max_assets=settings.max_assets,
        evict_after_seconds=settings.evict_after_seconds,
        evict_after_records=settings.evict_after_records,
        allowed_assets=settings.globs_of_assets,
    )


def limits_to_json(limits: Limits) -> dict[str, Any]:
    """The limits that are written down, as JSON values.

    >>> limits_from_json(limits_to_json(Limits(max_assets=7))).max_assets
    7
    """
    return {name: getattr(limits, name) for name in SHARED}


def limits_from_json(body: Mapping[str, Any]) -> Limits:
    """Raises KeyError, TypeError or ValueError where it is not what `limits_to_json` gave."""
    return Limits(
        max_assets=int(body["max_assets"]),
        evict_after_seconds=float(body["evict_after_seconds"]),
        evict_after_records=int(body["evict_after_records"]),
        # Groups of before knew no such limit.
        allowed_assets=tuple(map(str, body.get("allowed_assets", Limits().allowed_assets))),
    )


def _shown(limits: Limits, name: str) -> str:
    value = getattr(limits, name)
    return ",".join(value) if isinstance(value, tuple) else f"{value:.12g}"


def begins_other_limits(settings: Settings, theirs: Limits | None) -> bool:
    """Whether this worker's limits are to hold from now on in place of the group's; None: it has not said which.

    Raises:
        UsageError: the group runs under others, and the settings do not accept a change.
    """
    own = limits_of(settings)
    if theirs is None or theirs == own:
        return False
    if settings.other_limits == "accept":
        return True
    differing = "; ".join(
        f"{Settings.variable(name)} is {_shown(own, name)} here and {_shown(theirs, name)} in the group"
        for name in SHARED
        if getattr(own, name) != getattr(theirs, name)
    )
    raise UsageError(
        f"group {settings.group} runs under other limits, which decide what its alarms are: {differing}; give every "
        f"worker the same; {Settings.variable('other_limits')} = accept on all of them changes the group's"
    )
