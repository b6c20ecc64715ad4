"""Simple stand-ins with the same protocol as the real parts."""

from collections.abc import Mapping

from stream_detector.messages import Alarm, Costs, to_iso
from stream_detector.records import AssetStatus, Outcome, RecordBatch


class CountingEngine:
    """One alarm for every `every` readings of an asset; its decision state is the number seen, snapshotted each batch.

    It rebuilds nothing from the log (`low` is None) and counts only what its snapshot does not cover, so that a record
    lost or taken twice shows in every later alarm.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self.seen: dict[int, dict[str, int]] = {}
        self.last: dict[int, int] = {}

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome:
        seen = self.seen.setdefault(batch.partition, {})
        alarms: list[Alarm] = []
        touched = set()
        for offset, key in zip(batch.offsets, batch.keys, strict=True):
            if offset <= self.last.get(batch.partition, -1):
                continue
            self.last[batch.partition] = offset
            asset = (key or b"").decode()
            seen[asset] = seen.get(asset, 0) + 1
            touched.add(asset)
            if seen[asset] % self.every == 0:
                alarms.append(_alarm(asset, seen[asset]))
        snapshots: list[tuple[str, bytes | None]] = [
            (asset, f"{seen[asset]} {self.last[batch.partition]}".encode()) for asset in sorted(touched)
        ]
        outcome = Outcome(
            alarms=alarms, snapshots=snapshots, alarm_timestamps_ms=[batch.timestamps_ms[-1]] * len(alarms)
        )
        outcome.counts.received = outcome.counts.windowed = len(batch.offsets)
        return outcome

    def low(self, partition: int) -> int | None:
        return None

    def restore(self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0) -> None:
        for asset, data in snapshots.items():
            count, last = data.split()
            self.seen.setdefault(partition, {})[asset] = int(count)
            self.last[partition] = max(self.last.get(partition, -1), int(last))

    def forget(self, partition: int) -> None:
        self.seen.pop(partition, None)
        self.last.pop(partition, None)

    def status(self) -> list[AssetStatus]:
        return []


def _alarm(asset: str, number: int) -> Alarm:
    time = to_iso(float(number))
    return Alarm(
        id=f"{asset}-{number}", asset=asset, state="raised", raised_at=time, expected_from=time, expected_until=time,
        probability=None, score=float(number), threshold=0.0, top_sensors=[], bundle="fake", recipe="fake",
        costs=Costs(), step_seconds=1.0,
    )  # fmt: skip
