"""`python -m tests.mutations` (`make mutations`): breaks the product on purpose, and says which fast test noticed.

A mutation replaces a text of one file in a copy of the tree. Its own tests run first; where they pass, all fast tests
run. A mutation that no test notices survives, and the program ends with 1. A text that is not there exactly once is an
error: the list must not rot (`tests/layout/test_mutations.py` looks at it with every run of the fast tests).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.properties import SHARE_VARIABLE

COPIED = (
    "stream_detector", "trainer", "tests", "docs", "deploy", "benchmarks", "examples", ".github",
    ".dockerignore", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
    "README.md", "SECURITY.md", "docker-compose.yml", "pyproject.toml",
)  # fmt: skip
"""All that a fast test reads: one that fails for want of a file would pass for having noticed every mutation."""

FAST = "not kafka and not slow and not prometheus and not browser"
SHARE = "0.1"
"""The tests of `make unit`, and how large a share of their usual examples property tests draw there."""

SECONDS = 3_600.0


@dataclass(frozen=True)
class Mutation:
    """Replaces `before` by `after` in `file`; `tests`: files whose tests should notice."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def broken(self, root: Path) -> str:
        """The text of the file with the mutation in it.

        Raises:
            ValueError: the text to replace is not there exactly once.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        found = text.count(self.before)
        if found != 1:
            raise ValueError(f"{self.name}: {found} times in {self.file}, once is wanted: {self.before!r}")
        return text.replace(self.before, self.after)


STREAMING = "stream_detector/streaming"
WORKER = f"{STREAMING}/worker"
TRANSPORT, OFFSETS, HEALTH = f"{WORKER}/transport", f"{WORKER}/offsets", f"{WORKER}/health"
PIPELINE, PRODUCER = f"{WORKER}/pipeline.py", f"{STREAMING}/clients/producer.py"
STATE = f"{STREAMING}/state/partition_state.py"
OF_PIPELINE = ("tests/streaming/worker/test_pipeline.py",)
OF_WORKER = ("tests/streaming/worker/test_local_worker.py",)
OF_TRANSPORT = ("tests/streaming/worker/transport/test_transport.py",)
OF_PROBE = ("tests/streaming/worker/health/test_broker_probe.py",)
OF_PLANNING = ("tests/streaming/worker/offsets/test_planning.py",)
OF_READER = ("tests/streaming/readers/test_log_reader.py",)
OF_PRODUCER = ("tests/streaming/clients/test_producer.py",)
OF_PROGRESS = ("tests/streaming/worker/offsets/test_progress.py", *OF_PIPELINE)
SPARKPLUG, CARRIER = "stream_detector/decoding/sparkplug.py", f"{STREAMING}/sources/carrier.py"
OF_SPARKPLUG, OF_CARRIER = ("tests/decoding/test_sparkplug.py",), ("tests/streaming/sources/test_carrier.py",)
ENGINE = "stream_detector/engine"
OF_TOGETHER = ("tests/engine/test_together.py",)
OF_PLAIN = ("tests/engine/test_plain_batches.py",)
OF_ENGINE = ("tests/engine/test_engine.py", "tests/engine/test_rests.py", "tests/engine/test_engine_forms.py")

# fmt: off
MUTATIONS = (
    # -- acknowledged, then committed ----------------------------------------------------------------------------------
    Mutation(
        "alarms are sent and not waited for", PIPELINE,
        "            await self._producer.confirm(said.alarms)\n", "",
        OF_PIPELINE,
    ),
    Mutation(
        "a flush does not wait for batches in hand", f"{WORKER}/turns.py",
        "            await _over(list(self._ends.values()))\n", "",
        OF_PIPELINE,
    ),
    Mutation(
        "a batch does not wait for the one before it of its partition", f"{WORKER}/turns.py",
        "await _over([self._ends[partition] for partition in partitions if partition in self._ends])", "pass",
        OF_PIPELINE,
    ),
    Mutation(
        "a partition that was taken away meanwhile is decided about", PIPELINE,
        "if self._is_ours(each)]", "]",
        OF_PIPELINE,
    ),
    Mutation(
        "so are the parts of its fetch before a departure", PIPELINE,
        "            if not self._is_ours(in_hand):\n                break\n", "",
        OF_PIPELINE,
    ),
    Mutation(
        "a batch whose partition is not through waits with those beside it", PIPELINE,
        "for group in (sooner, later)", "for group in (plain,)",
        OF_PIPELINE,
    ),
    Mutation(
        "of fetches that come together a second switch is waited for after an interruption", PIPELINE,
        "                interrupted = self._is_broken_off(fetched)\n", "",
        ("tests/streaming/worker/test_switch_in_log.py",),
    ),
    Mutation(
        "batches begin behind one that failed", f"{WORKER}/turns.py",
        "                if end.done():\n                    end.result()\n", "                pass\n",
        OF_PIPELINE,
    ),
    Mutation(
        "scores and dead letters are not waited for", PIPELINE,
        "            for burst in part.unacknowledged.bursts:\n                await self._producer.confirm(burst)\n",
        "",
        OF_PIPELINE,
    ),
    Mutation(
        "snapshots are sent and not waited for", PIPELINE,
        "        await self._send(snapshots)", "        await self._producer.enqueue(snapshots)",
        OF_PIPELINE,
    ),
    Mutation(
        "what a plan writes is not waited for", PIPELINE,
        "                    await self._send(burst)", "                    await self._producer.enqueue(burst)",
        OF_PIPELINE,
    ),
    Mutation(
        "whatever is sent is not waited for", PIPELINE,
        "        places = await self._producer.confirm(await self._producer.enqueue(messages))",
        "        places = [None] * len((await self._producer.enqueue(messages)).messages)",
        OF_PIPELINE,
    ),
    Mutation(
        "re-keyed records are not waited for", "stream_detector/streaming/sources/repartition.py",
        "await producer.confirm(await producer.enqueue(messages))", "await producer.enqueue(messages)",
        ("tests/streaming/sources/test_repartition.py",),
    ),
    Mutation(
        "messages on their way are not bounded", PIPELINE,
        "            await self._producer.confirm(oldest)\n", "",
        OF_PIPELINE,
    ),
    Mutation(
        "offsets are committed without a flush", f"{TRANSPORT}/handle_and_commit.py",
        "        await keeper.flush()\n", "",
        OF_TRANSPORT,
    ),
    Mutation(
        "a flush loses what came meanwhile", PIPELINE,
        "                    part.progress.declare(",
        "                    part.progress.unacknowledged = Unacknowledged()\n"
        "                    part.progress.declare(",
        OF_PIPELINE,
    ),
    Mutation(
        "a flush that is broken off forgets what it had taken", PIPELINE,
        "                    part.progress.unacknowledged.take_back(part.unacknowledged)\n",
        "                    pass\n",
        OF_PIPELINE,
    ),
    Mutation(
        "a newer snapshot is dropped with its older one", f"{OFFSETS}/unacknowledged.py",
        "{**older.snapshots, **self.snapshots}", "{**self.snapshots, **older.snapshots}",
        OF_PIPELINE,
    ),
    Mutation(
        "snapshots that come while others are on their way are lost", PIPELINE,
        "progress.unacknowledged.renew(outcome.snapshots, until)", "Unacknowledged().renew(outcome.snapshots, until)",
        OF_PIPELINE,
    ),
    Mutation(
        "a burst counts as acknowledged when half of it is", PRODUCER,
        "if failed is None and len(burst.futures) == len(burst.messages):", "if failed is None:",
        OF_PRODUCER,
    ),
    Mutation(
        "a message that expired counts as acknowledged", PRODUCER,
        "if failed is None and len(burst.futures) == len(burst.messages):",
        "if len(burst.futures) == len(burst.messages):",
        OF_PRODUCER,
    ),
    Mutation(
        "acknowledgements are not waited for at all", PRODUCER,
        "                await asyncio.wait(burst.futures)\n", "                pass\n",
        OF_PRODUCER,
    ),
    Mutation(
        "a broken client's last burst stops the client that replaced it", PRODUCER,
        "            await self._renew(burst.producer)\n", "            await self._renew(self._producer)\n",
        OF_PRODUCER,
    ),
    Mutation(
        "an event is acknowledged before it is handled", f"{TRANSPORT}/agent.py",
        "    acknowledged = await begin_or_fail(", "    event.ack()\n    acknowledged = await begin_or_fail(",
        OF_TRANSPORT,
    ),
    Mutation(
        "an event is acknowledged before its alarms are", f"{TRANSPORT}/agent.py",
        "    if acknowledged is None:\n        _let_go(event)\n", "    if True:\n        _let_go(event)\n",
        OF_TRANSPORT,
    ),
    # -- what is committed, and with which low -------------------------------------------------------------------------
    Mutation(
        "low is the offset itself: nothing is rebuilt", PIPELINE,
        "return processed if low is None else low", "return processed",
        OF_PIPELINE,
    ),
    Mutation(
        "low is lost on the way to the commit", PIPELINE,
        "low = offset if progress.low is None else progress.low", "low = offset",
        OF_PIPELINE,
    ),
    Mutation(
        "what was processed during the flush is declared too", PIPELINE,
        "part.progress.declare(part.processed, part.low, self._clock())",
        "part.progress.declare(part.progress.processed, part.low, self._clock())",
        OF_PIPELINE,
    ),
    Mutation(
        "offsets are committed while windows are rebuilt", PIPELINE,
        "if not (progress.rebuilding or progress.in_hand)", "if not progress.in_hand",
        OF_PIPELINE,
    ),
    Mutation(
        "a batch that failed is flushed", PIPELINE,
        "if not (progress.rebuilding or progress.in_hand)", "if not progress.rebuilding",
        OF_PIPELINE,
    ),
    Mutation(
        "a batch that failed is gone on from", PIPELINE,
        "number: progress.processed for number, progress in self.partitions.items() if not progress.in_hand",
        "number: progress.processed for number, progress in self.partitions.items()",
        OF_PIPELINE,
    ),
    Mutation(
        "a partition that came back during the flush takes over the old offset", PIPELINE,
        "                if self.partitions.get(part.number) is part.progress:\n"
        "                    part.progress.declare(",
        "                if part.number in self.partitions:\n"
        "                    self.partitions[part.number].declare(",
        OF_PIPELINE,
    ),
    Mutation(
        "a commit that the group did not take is believed", f"{TRANSPORT}/handle_and_commit.py",
        "    if done:\n", "    if offsets:\n",
        OF_TRANSPORT,
    ),
    Mutation(
        "offsets of partitions that are not ours any more count as committed", f"{TRANSPORT}/consumer_thread.py",
        "return len(mine) == len(offsets)", "return True",
        OF_TRANSPORT,
    ),
    Mutation(
        "the answer to an old commit counts for a new assignment", f"{OFFSETS}/progress.py",
        "if self.declared is None or offset > self.declared:", "if False:",
        OF_PROGRESS,
    ),
    Mutation(
        "a declaration goes back", f"{OFFSETS}/progress.py",
        "if self.declared is not None and offset <= self.declared:", "if False:",
        OF_PROGRESS,
    ),
    # -- which fetches count -------------------------------------------------------------------------------------------
    Mutation(
        "a fetch of an older plan is processed", PIPELINE,
        "progress is None or progress.epoch != fetched.epoch or progress.broken_off", "progress is None",
        OF_PIPELINE,
    ),
    Mutation(
        "a hole between two fetches passes unseen", PIPELINE,
        "if fetched.start != progress.processed:", "if fetched.start < progress.processed:",
        OF_PIPELINE,
    ),
    Mutation(
        "a plan that lost its partitions takes effect", PIPELINE,
        "            if self._revocations != revocations:\n                return {}\n", "",
        OF_PIPELINE,
    ),
    Mutation(
        "fetches carry the number of the newest plan and not of theirs", f"{TRANSPORT}/consumer_thread.py",
        "        self.positions.clear()\n", "",
        OF_TRANSPORT,
    ),
    Mutation(
        "records before the position are read again", f"{TRANSPORT}/draining.py",
        "    if records and records[0].offset < begin:", "    if False:",
        ("tests/streaming/worker/transport/test_draining.py",),
    ),
    # -- starts --------------------------------------------------------------------------------------------------------
    Mutation(
        "a start lies beyond the commit", f"{OFFSETS}/recovery.py",
        "offset=min(max(low, known.beginning), resume)", "offset=max(low, known.beginning, resume)",
        ("tests/streaming/worker/offsets/test_recovery.py",),
    ),
    Mutation(
        "an end below the commit is believed at once", f"{OFFSETS}/planning.py",
        "            await self._sleep(LOOK_AGAIN_SECONDS)\n", "            return ends\n",
        OF_PLANNING,
    ),
    Mutation(
        "snapshots of another log are taken", STATE,
        "            if snapshot.offset > self.end:", "            if False:",
        OF_READER,
    ),
    Mutation(
        "snapshots of another group are taken", STATE,
        " or snapshot.group != self.group:", ":",
        OF_READER,
    ),
    Mutation(
        "snapshots of another bundle are taken", STATE,
        "if (bundle, its) == (bundle_id, term)",
        "if its == term",
        OF_READER,
    ),
    Mutation(
        "the snapshot written last wins", STATE,
        "if key not in self._newest or snapshot.offset >= self._newest[key].offset:", "if True:",
        OF_READER,
    ),
    # -- failures ------------------------------------------------------------------------------------------------------
    Mutation(
        "an error of the engine is swallowed", f"{TRANSPORT}/handle_and_commit.py",
        "        handler.fail(error)\n        return await asyncio.Future()\n", "        return None\n",
        (*OF_TRANSPORT, *OF_WORKER),
    ),
    Mutation(
        "after an error the batch counts as done", f"{TRANSPORT}/handle_and_commit.py",
        "        return await asyncio.Future()\n", "        return None\n",
        OF_TRANSPORT,
    ),
    Mutation(
        "a failed commit is swallowed", f"{TRANSPORT}/handle_and_commit.py",
        "        keeper.fail(error)\n        return False\n", "        return False\n",
        OF_TRANSPORT,
    ),
    Mutation(
        "a group whose offset went back goes unseen", f"{HEALTH}/broker_probe.py",
        "committed.get(number, -1) < offset", "committed.get(number, offset) < offset",
        OF_PROBE,
    ),
    Mutation(
        "a stalled worker keeps its place in the group", f"{WORKER}/worker.py",
        "                        await stream.leave()\n", "                        pass\n",
        OF_WORKER,
    ),
    Mutation(
        "after a failure the batch in hand is finished and committed", f"{WORKER}/worker.py",
        "self._close_all(None if failed else stream)", "self._close_all(stream)",
        OF_WORKER,
    ),
    # -- ready ---------------------------------------------------------------------------------------------------------
    Mutation(
        "ready while windows are rebuilt", f"{WORKER}/worker.py",
        "if reason is None and self.pipeline.rebuilding:", "if False:",
        OF_WORKER,
    ),
    Mutation(
        "ready before anything was looked at", f"{WORKER}/lifecycle.py",
        "self.not_ready: str | None = STARTING", "self.not_ready: str | None = None",
        ("tests/streaming/worker/test_lifecycle.py",),
    ),
    Mutation(
        "ready while the worker ends", f"{WORKER}/worker.py",
        "            self.lifecycle.not_ready = ENDING\n", "            self.lifecycle.not_ready = None\n",
        OF_WORKER,
    ),
    Mutation(
        "ready without an assignment", f"{HEALTH}/broker_probe.py",
        "if not view.member or owned.planning:", "if not view.member:",
        OF_PROBE,
    ),
    # -- what is decided -----------------------------------------------------------------------------------------------
    Mutation(
        "two records are enough to move a clock", "stream_detector/engine/clock_guard.py",
        "AGREEING = 3", "AGREEING = 2",
        OF_ENGINE,
    ),
    Mutation(
        "what comes of a batch is told of the first one beside it", f"{ENGINE}/batch_in_hand.py",
        "getattr(batches[record >> NUMBER_BITS], name)", "getattr(batches[0], name)",
        OF_TOGETHER,
    ),
    Mutation(
        "records of several batches are numbered alike", f"{ENGINE}/batch_in_hand.py",
        "part.readings.renumbered(first)", "part.readings",
        OF_TOGETHER,
    ),
    Mutation(
        "records that are read as one are far ahead", f"{ENGINE}/plain_batches.py",
        "if not _follow_each_other(grid, times, slots, ahead):", "if False:",
        OF_PLAIN,
    ),
    Mutation(
        "they are later than their Kafka timestamps", f"{ENGINE}/plain_batches.py",
        "return bool(not_later(times, np.concatenate(stamps), ahead).all())", "return True",
        OF_PLAIN,
    ),
    Mutation(
        "they come after one that is held", f"{ENGINE}/plain_batches.py",
        "if slots is None or self._are_watched(slots):", "if slots is None:",
        OF_PLAIN,
    ),
    Mutation(
        "they come while the log is read again", f"{ENGINE}/partition.py",
        "first < self._silent_until or history", "history",
        OF_PLAIN,
    ),
    Mutation(
        "the slots of a partition that was given away are not free", f"{ENGINE}/partition.py",
        "            self.assets.let_go(slot)\n\n    def _snapshots", "\n    def _snapshots",
        OF_TOGETHER,
    ),
    Mutation(
        "an asset is evicted for either reason", "stream_detector/engine/assets/assets.py",
        "slots[lags & unheard & ", "slots[(lags | unheard) & ",
        OF_ENGINE,
    ),
    Mutation(
        "a rest begins where an alarm was kept up longer than it had to be", "stream_detector/detection/episodes.py",
        "return min(max(step, raised_step + 1), raised_step + config.max_steps)",
        "return max(step, raised_step + 1)",
        OF_ENGINE,
    ),
    Mutation(
        "samples of another run go the short way into the grid", "stream_detector/detection/grid/steady.py",
        " & (positions.last[slots] == steps - 1)\n", "\n",
        ("tests/engine/test_steady_samples.py",),
    ),
    Mutation(
        "a row goes the short way though one of its asset before it could not",
        "stream_detector/detection/grid/steady.py",
        "return np.asarray(broken == before[asset])", "return follows",
        ("tests/engine/test_steady_rows.py",),
    ),
    Mutation(
        "a row goes the short way though a step before it is open", "stream_detector/detection/grid/steady.py",
        "        fine &= closed | grid", "        fine |= closed | grid",
        ("tests/engine/test_steady_rows.py",),
    ),
    Mutation(
        "a label is known a step early", "stream_detector/detection/head/calibration.py",
        "known_until = step - self._lead.until_steps", "known_until = step - self._lead.until_steps + 1",
        ("tests/detection/head/test_calibration.py",),
    ),
    # -- other people's buses ------------------------------------------------------------------------------------------
    Mutation(
        "aliases are believed after a gap", SPARKPLUG,
        "            self.aliases.clear()\n", "            pass\n",
        OF_SPARKPLUG,
    ),
    Mutation(
        "the death of an earlier session counts", SPARKPLUG,
        " and number != node.birth)", " and number == -1)",
        OF_SPARKPLUG,
    ),
    Mutation(
        "a message has arrived with its first record", CARRIER,
        "            whole = not parcel.missing\n", "            whole = True\n",
        OF_CARRIER,
    ),
    Mutation(
        "what the topic does not take is given up", CARRIER,
        "        self._held = True\n        self._again.append(record)\n", "        self._done(record.parcel)\n",
        OF_CARRIER,
    ),
    Mutation(
        "an Avro type within itself is read", "stream_detector/decoding/registry_records.py",
        "            if kind in within:\n", "            if kind in ():\n",
        ("tests/decoding/test_registry_records.py",),
    ),
)
# fmt: on


@dataclass(frozen=True)
class Verdict:
    """`caught_by`: the test that failed; None = the mutation survived."""

    mutation: Mutation
    caught_by: str | None
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", metavar="TEXT", help="mutations whose name holds this text")
    parser.add_argument("--list", action="store_true", help="name the mutations and end")
    options = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if options.only is None or options.only in mutation.name]
    if not chosen:
        parser.error(f"no mutation is called {options.only!r}; --list names them")
    if options.list:
        print("\n".join(mutation.name for mutation in chosen))
        return 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Path(folder)
        copy_tree(copy)
        # All of them, not only those that are named: one that fails anyway would pass for having noticed.
        failed = first_failure(copy, ("tests",))
        if failed is not None:
            print(f"without any mutation {failed} fails already; mend that first")
            return 1
        verdicts = list(map_mutations(copy, chosen))
    survivors = [verdict.mutation.name for verdict in verdicts if verdict.caught_by is None]
    print(f"{len(verdicts)} mutations, {len(verdicts) - len(survivors)} caught, {len(survivors)} survived")
    return 1 if survivors else 0


def map_mutations(copy: Path, mutations: Iterable[Mutation]) -> Iterable[Verdict]:
    for mutation in mutations:
        verdict = try_mutation(copy, mutation)
        print(f"{'caught' if verdict.caught_by else 'SURVIVED':>8}  {mutation.name}  ({verdict.seconds:.0f} s)")
        print(f"{'':>8}  by {verdict.caught_by}" if verdict.caught_by else "", flush=True)
        yield verdict


def try_mutation(copy: Path, mutation: Mutation) -> Verdict:
    """Break the copy, run the tests, mend it."""
    began = time.monotonic()
    file = copy / mutation.file
    whole = file.read_text(encoding="utf-8")
    rewrite(file, mutation.broken(copy))
    try:
        caught_by = first_failure(copy, mutation.tests) or first_failure(copy, ("tests",))
    finally:
        rewrite(file, whole)
    return Verdict(mutation, caught_by, time.monotonic() - began)


def rewrite(file: Path, text: str) -> None:
    """Write the source, and forget what was compiled: a text of the same size and second passes for the same."""
    file.write_text(text, encoding="utf-8")
    Path(cache_from_source(str(file))).unlink(missing_ok=True)


def copy_tree(to: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, to / name)


def first_failure(root: Path, tests: Iterable[str]) -> str | None:
    """The first test that fails, by name; None where all pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", FAST, "-p", "no:cacheprovider", "--timeout", "60", *tests],
        cwd=root, env={**os.environ, SHARE_VARIABLE: SHARE}, capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    # A test that hangs is ended with the whole process.
    return found.group(1) if found else f"pytest, which ended with {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
