from hypothesis import given
from hypothesis import strategies as st

from stream_detector.streaming.worker.offsets.recovery import (
    CommitMetadata,
    PartitionOffsets,
    ScoredBy,
    choose_start,
    from_metadata,
    to_metadata,
)

offsets = st.integers(min_value=0, max_value=1_000)


def test_a_restart_reads_again_from_low_in_silence_up_to_the_committed_offset() -> None:
    start = choose_start(PartitionOffsets(beginning=0, end=100, committed=80, low=50))
    assert (start.offset, start.silent_until, start.restore_snapshots) == (50, 80, True)


def test_the_first_start_reads_from_the_first_record_aloud_and_trusts_no_snapshot() -> None:
    start = choose_start(PartitionOffsets(beginning=7, end=100))
    assert (start.offset, start.silent_until, start.restore_snapshots) == (7, 7, False)


def test_a_partition_that_was_kept_goes_on_from_memory() -> None:
    start = choose_start(PartitionOffsets(beginning=0, end=100, committed=80, low=50, in_memory=90))
    assert start.keep_state
    assert start.offset == 90


def test_memory_is_worthless_when_another_worker_came_further() -> None:
    start = choose_start(PartitionOffsets(beginning=0, end=100, committed=95, low=60, in_memory=90))
    assert not start.keep_state
    assert (start.offset, start.silent_until) == (60, 95)


def test_offsets_beyond_the_end_belong_to_another_log() -> None:
    start = choose_start(PartitionOffsets(beginning=0, end=10, committed=80, low=50, in_memory=80))
    assert (start.offset, start.silent_until, start.restore_snapshots, start.keep_state) == (0, 0, False, False)


def test_records_that_retention_removed_unread_are_counted() -> None:
    start = choose_start(PartitionOffsets(beginning=90, end=100, committed=80, low=50))
    assert (start.offset, start.silent_until, start.lost) == (90, 90, 10)


@given(offsets, offsets, st.none() | offsets, st.none() | offsets, st.none() | offsets)
def test_a_start_lies_in_the_log_and_never_skips_what_was_not_committed(
    first: int, second: int, committed: int | None, low: int | None, memory: int | None
) -> None:
    beginning, end = sorted((first, second))
    start = choose_start(PartitionOffsets(beginning, end, committed, low, memory))
    assert beginning <= start.offset <= end
    if start.keep_state:
        assert start.offset == memory
        assert committed is None or committed > end or committed <= start.offset
    elif committed is not None and committed <= end:
        assert start.offset <= max(committed, beginning)
        assert start.silent_until == max(committed, beginning)
        assert start.lost == max(0, beginning - committed)
    else:
        assert start.offset == start.silent_until == beginning


@given(st.integers(min_value=0))
def test_commit_metadata_comes_back(low: int) -> None:
    scored_by = ScoredBy("bundle", "fingerprint")
    assert from_metadata(to_metadata(low % 2**63, scored_by)) == CommitMetadata(low % 2**63, scored_by)


def test_metadata_of_an_older_version_says_nothing_of_who_scored() -> None:
    assert from_metadata('{"low":7}') == CommitMetadata(7, None)


@given(st.text())
def test_metadata_by_hand_is_no_low(text: str) -> None:
    assert from_metadata(text).low is None or '"low"' in text
