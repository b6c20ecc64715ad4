from stream_detector.messages import DeadLetter
from stream_detector.streaming.clients.dead_letter_rate import DeadLetterRate
from stream_detector.streaming.worker.offsets.progress import PartitionProgress


def test_only_what_is_declared_is_committed_and_only_once() -> None:
    progress = PartitionProgress(epoch=1, processed=10, silent_until=0, committed=5)
    assert progress.to_commit() is None
    progress.declare(10, low=8, now=0.0)
    assert progress.to_commit() == 10
    progress.commit_acknowledged(10, now=1.0)
    assert progress.to_commit() is None
    assert progress.waiting_since is None


def test_a_declaration_never_goes_back() -> None:
    progress = PartitionProgress(epoch=1, processed=0, silent_until=0, committed=None)
    progress.declare(10, low=8, now=0.0)
    progress.declare(9, low=1, now=0.0)
    assert (progress.declared, progress.low) == (10, 8)


def test_low_is_never_beyond_the_offset_it_belongs_to() -> None:
    progress = PartitionProgress(epoch=1, processed=0, silent_until=0, committed=None)
    progress.declare(10, low=50, now=0.0)
    assert progress.low == 10


def test_rebuilding_ends_at_the_committed_offset() -> None:
    progress = PartitionProgress(epoch=1, processed=9, silent_until=10, committed=10)
    assert progress.rebuilding
    progress.processed = 10
    assert not progress.rebuilding


def test_dead_letters_flow_at_the_rate_allowed_after_a_burst() -> None:
    now = [0.0]
    rate = DeadLetterRate(2.0, clock=lambda: now[0])
    assert sum(rate.admits() for _ in range(100)) == 20
    now[0] = 5.0
    assert sum(rate.admits() for _ in range(100)) == 10


def test_a_dead_letter_keeps_the_key_of_its_record() -> None:
    letter = DeadLetter(
        topic="t", partition=0, offset=1, reason="malformed", raw=None, key="bWFjaGluZS0x", timestamp_ms=0
    )
    assert DeadLetterRate(1.0).message("letters", letter).key == b"machine-1"
