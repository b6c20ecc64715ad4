"""What bounds the engine's memory, whatever arrives, and what a restart reads again."""

from msgspec import Struct

SWEEPS = 8
"""Number of times that eviction is looked at within `evict_after_records` offsets."""


class Limits(Struct, frozen=True):
    """Both conditions of an eviction are functions of the log, so a restart evicts the same assets.

    Attributes:
        allowed_assets: globs; an asset that fits none is unknown, whatever the bundle says.
        max_assets: a partition's records for more assets are dead letters (`too-many-assets`); of so many that were
            evicted it is remembered which steps were decided.
        evict_after_seconds, evict_after_records: an asset is evicted when both hold: its newest event time is this far
            (seconds) behind the partition's, and none of the last so many offsets was a record of it.
        slack_steps: extra ring rows of an asset, at most. They bound how far it advances before its steps are closed.
        slack_cells: extra ring cells of all assets of an engine together, at most.
        window_lag_records: an asset whose windows begin more records back than this,
        window_lag_spans: and more than so many times what the windows of the others span, has them in its snapshot.
        window_bytes_per_record: most bytes of such snapshots, on average over the records that came.
        window_bytes: most bytes of one; a message of Kafka holds about a million.
    """

    max_assets: int = 20_000
    evict_after_seconds: float = 7 * 86_400.0
    evict_after_records: int = 1_000_000
    slack_steps: int = 256
    slack_cells: int = 2**21
    window_lag_records: int = 100_000
    window_lag_spans: float = 2.0
    window_bytes_per_record: float = 16.0
    window_bytes: int = 900_000
    allowed_assets: tuple[str, ...] = ("*",)
