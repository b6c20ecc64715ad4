"""Notes on a batch beside its columns: which records are wrong, which values are missing, which names are unknown."""

from collections import Counter

from stream_detector.decoding.asset_names import Name
from stream_detector.decoding.decoded import UNKNOWN_ASSET, UNKNOWN_SENSOR, Decoded, Reject
from stream_detector.decoding.unknown_names import LOOKED_AT, UnknownNames, UnknownPolicies, newest_of_many


class Notes:
    """Collects the notes on one batch. The policies say what becomes of names that the bundle does not know."""

    def __init__(self, policies: UnknownPolicies, whose: str = "this bundle") -> None:
        self._policies = policies
        self._whose = whose
        self.rejects: list[Reject] = []
        self.missing: Counter[str] = Counter()
        self._of_sensors = self._of_assets = 0
        self._sensors: list[str] = []
        self._assets: list[str] = []

    def reject(self, place: int, readings: int, reason: str, detail: str) -> None:
        """`readings` of the record at `place` of the batch are a dead letter."""
        self.rejects.append(Reject(place, readings, reason, detail))

    def unknown_sensors(self, place: int, names: list[str], readings: int | None = None) -> None:
        """Readings of sensors that the bundle does not know; one of each name where their number is not told."""
        count = len(names) if readings is None else readings
        if self._policies.sensors == "dead-letter":
            self.reject(place, count, UNKNOWN_SENSOR, ", ".join(name[:40] for name in names[:5]))
            return
        self._of_sensors += count
        self._sensors += names

    def all_unknown_but(self, places: list[int], names: list[str]) -> None:
        """One reading of each of these sensors, in as many records, except for those at `places`."""
        known = set(places)
        if self._policies.sensors == "dead-letter":
            for place, name in enumerate(names):
                if place not in known:
                    self.unknown_sensors(place, [name])
            return
        self._of_sensors += len(names) - len(places)
        first = max(0, len(names) - LOOKED_AT)
        self._sensors += [name for place, name in enumerate(names[first:], first) if place not in known]

    def unknown_asset(self, place: int, name: Name, readings: int) -> None:
        """Readings of an asset that is none of the bundle's."""
        text = name.decode() if isinstance(name, bytes) else name or ""
        if self._policies.assets == "dead-letter":
            self.reject(place, readings, UNKNOWN_ASSET, f"{text[:40]!r} is not an asset of {self._whose}")
            return
        self._of_assets += readings
        self._assets.append(text)

    def write_to(self, decoded: Decoded) -> Decoded:
        """Enter all notes into the decoded batch."""
        decoded.rejects, decoded.missing = self.rejects, self.missing
        decoded.unknown = UnknownNames(
            self._of_sensors, self._of_assets, newest_of_many(self._sensors), newest_of_many(self._assets)
        )
        return decoded
