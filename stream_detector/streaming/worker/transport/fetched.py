"""What one fetch brings from one partition, as columns; how it is cut, and which are handled together."""

from bisect import bisect_left
from collections.abc import Collection, Iterable
from itertools import pairwise

from msgspec import Struct, field
from msgspec.structs import replace

from stream_detector.decoding.columns import bytes_in
from stream_detector.decoding.field_mapping import Headers

MOST_BYTES_TOGETHER = 2**18
"""Of fetches that are handled together: some thousand readings, which take some milliseconds."""

LEAST_RECORD_BYTES = 64
"""What a record takes beside its value."""


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


def in_groups(fetches: Iterable[Fetched]) -> list[list[Fetched]]:
    """Fetches of different partitions, small ones together: whoever handles them takes as long for one as for several.

    Larger ones stay apart, for records that wait together are in memory together.
    """
    groups: list[list[Fetched]] = []
    bytes_left = 0
    for fetched in fetches:
        size = _bytes_in(fetched.columns)
        if size > bytes_left or not groups:
            groups.append([])
            bytes_left = MOST_BYTES_TOGETHER
        groups[-1].append(fetched)
        bytes_left -= size
    return groups


def _bytes_in(columns: Columns) -> int:
    """About so many; where there are many records, more than fit."""
    if len(columns) > MOST_BYTES_TOGETHER // LEAST_RECORD_BYTES:
        return MOST_BYTES_TOGETHER + 1
    return LEAST_RECORD_BYTES * len(columns) + bytes_in(columns.values)


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
