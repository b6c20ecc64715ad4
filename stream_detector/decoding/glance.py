"""A glance at a record: is it about a thing that the bundle knows? On a shared bus most are not."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from stream_detector.decoding.asset_names import AssetNames, Name
from stream_detector.decoding.fast_forms import parse_most
from stream_detector.decoding.notes import Notes

_ABSENT = msgspec.Raw()

OF_SEVERAL = b'"values"'
"""Rows and blocks hold this and are never passed over; parsing them to see it costs a seventh of decoding them."""


class Glance(msgspec.Struct, gc=False):
    """The names in a record, and whether there is more in it than one reading; nothing else of it is parsed."""

    sensor: str | None = None
    asset: str | None = None
    event: str | None = None
    values: msgspec.Raw = _ABSENT
    readings: msgspec.Raw = _ABSENT


class BareGlance(msgspec.Struct, gc=False):
    """The same of the commonest record by far, of which only the key names the asset."""

    sensor: str
    asset: None = None
    event: None = None
    values: None = None
    readings: None = None


class Glancer:
    """Passes over the readings of unknown sensors and assets, whatever else is right or wrong about them."""

    def __init__(self, sensors: Mapping[str, int], assets: AssetNames) -> None:
        self._sensors = sensors
        self._assets = assets
        self._decode = msgspec.json.Decoder(Glance).decode
        self._known_glance = BareGlance(next(iter(sensors)))
        self._decode_bare = msgspec.json.Decoder(BareGlance).decode

    def passes_over(self, place: int, key: Name, value: bytes | None, notes: Notes) -> bool:
        """Whether the record at `place` is such a reading; then it is noted."""
        try:
            glance = self._decode(value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        if (
            glance.sensor is None
            or glance.event is not None
            or glance.values is not _ABSENT
            or glance.readings is not _ABSENT
        ):
            return False
        name = glance.asset or key
        if self._assets.is_stranger(name):
            notes.unknown_asset(place, name, 1)
            return True
        if glance.sensor not in self._sensors:
            notes.unknown_sensors(place, [glance.sensor])
            return True
        return False

    def others(self, keys: Sequence[bytes | None], values: Sequence[bytes | None], notes: Notes) -> list[int]:
        """Places of all other records of a batch."""
        found = parse_most(self._decode_bare, values)
        if found is None:
            waiting: Iterable[int] = range(len(values))
        else:
            glances, odd = found
            for place in odd:
                glances.insert(place, self._known_glance)
            known, names = self._sensors, [glance.sensor for glance in glances]
            waiting = [place for place, name in enumerate(names) if name in known]
            strangers = set(keys) - self._assets.known.keys()
            if strangers:
                waiting = sorted({*waiting, *(place for place, key in enumerate(keys) if key in strangers)})
            notes.all_unknown_but(waiting, names)
        return [
            place
            for place in waiting
            if OF_SEVERAL in (values[place] or b"") or not self.passes_over(place, keys[place], values[place], notes)
        ]
