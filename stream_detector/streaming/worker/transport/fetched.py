"""What one fetch brings from one partition, as columns, and how it is cut."""

from bisect import bisect_left
from collections.abc import Collection
from itertools import pairwise

from msgspec import Struct, field
from msgspec.structs import replace

from stream_detector.decoding.field_mapping import Headers


class Columns(Struct):
    """N records of one partition, offsets ascending; all have the same length."""

    offsets: range | list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    timestamps_ms: list[int] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    """Of each record; none where nobody asks for them."""

    def __len__(self) -> int:
        return len(self.values)


class Fetched(Struct):
    """What one fetch brought from one partition.

    `start` is the position before the fetch and `end` after it: the offsets in between that carry no record (markers of
    transactions, aborted records, holes of compaction) belong to this fetch, so a chain of fetches has no gap.
    `epoch` counts the seeks of the partition; a fetch from before the last seek is worthless.
    """

    topic: str
    partition: int
    epoch: int
    start: int
    end: int
    columns: Columns
    has_orders: bool = True
    """Whether control records may be among them; looked for once, for that takes a hundredth of a record's time."""


def parts_of(fetched: Fetched, cuts: Collection[int]) -> list[Fetched]:
    """The fetch, cut at these offsets."""
    inside = sorted(cut for cut in cuts if fetched.start < cut < fetched.end)
    if not inside:
        return [fetched]
    columns, parts = fetched.columns, []
    for start, end in pairwise([fetched.start, *inside, fetched.end]):
        span = slice(bisect_left(columns.offsets, start), bisect_left(columns.offsets, end))
        part = Columns(
            columns.offsets[span],
            columns.keys[span],
            columns.values[span],
            columns.timestamps_ms[span],
            columns.headers[span],
        )
        parts.append(replace(fetched, start=start, end=end, columns=part))
    return parts
