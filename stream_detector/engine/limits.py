"""What bounds the engine's memory, whatever arrives."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Both conditions of an eviction are functions of the log, so a restart evicts the same assets.

    Attributes:
        max_assets: a partition's records for more assets are dead letters (`too-many-assets`).
        evict_after_seconds: an asset this far behind the partition's newest event time may be evicted,
        evict_after_records: if none of the last so many offsets was a record of it.
        slack_steps: most ring rows beyond those that windows need: how far an asset goes before its steps are closed.
        slack_cells: of these rows of all assets of a partition together.
    """

    max_assets: int = 20_000
    evict_after_seconds: float = 7 * 86_400.0
    evict_after_records: int = 1_000_000
    slack_steps: int = 256
    slack_cells: int = 2**19
