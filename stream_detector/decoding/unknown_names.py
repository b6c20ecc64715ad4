"""Names of sensors and assets that a bundle does not know: on a shared bus most records are about other things."""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

Policy = Literal["ignore", "dead-letter", "fail"]

NEWEST = 20
"""Names of each kind that are told."""

LOOKED_AT = 200
"""Names at the end of a batch that they are taken from."""

LONGEST_NAME = 80
"""Characters of a name that are told."""


class UnknownPolicies(Struct, frozen=True):
    """What becomes of readings of an unknown sensor of a known asset, and of those of an unknown asset.

    `ignore`: they are counted and passed over. `dead-letter`: each record is a dead letter. `fail`: they are counted as
    with `ignore`, and whoever runs the engine ends. No policy changes an alarm.
    """

    sensors: Policy = "ignore"
    assets: Policy = "ignore"


IGNORING = UnknownPolicies()


class UnknownNames(Struct, frozen=True):
    """Readings that were passed over, and the newest of their names, the newest first.

    `of_sensors`: readings of unknown sensors. `of_assets`: of unknown assets.
    """

    of_sensors: int = 0
    of_assets: int = 0
    sensors: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()

    @property
    def readings(self) -> int:
        return self.of_sensors + self.of_assets

    def plus(self, newer: "UnknownNames") -> "UnknownNames":
        """The sum of two such counts."""
        if not newer.readings:
            return self
        return UnknownNames(
            self.of_sensors + newer.of_sensors,
            self.of_assets + newer.of_assets,
            newest((*newer.sensors, *self.sensors)),
            newest((*newer.assets, *self.assets)),
        )


NONE_UNKNOWN = UnknownNames()


def newest(names: Iterable[str]) -> tuple[str, ...]:
    """The first names without repeats, in their order."""
    # Half a surrogate pair cannot be written as UTF-8.
    written = (name[:LONGEST_NAME].encode("utf-8", "replace").decode() for name in names)
    return tuple(dict.fromkeys(written))[:NEWEST]


def newest_of_many(names: Sequence[str]) -> tuple[str, ...]:
    """The same of the last names of a batch, the last first; a look at the end of it is enough."""
    return newest(reversed(names[-LOOKED_AT:]))
