"""What strikes a group of workers at a random moment: kills, rebalances, offsets that are set back."""

import random

from tests.chaos.faults import commit_by_hand
from tests.chaos.stage import Stage, random_pause
from tests.support.stack.workers import committed_of, wait_for


def random_blow(stage: Stage, rng: random.Random, workers: int) -> float:
    """One of them, on the first `workers` of the stage; the seconds until the group commits progress again."""
    return rng.choice([kill_one, kill_one, kill_all, set_back, join_and_die, nothing])(stage, rng, workers)


def kill_one(stage: Stage, rng: random.Random, workers: int) -> float:
    return stage.recovered(rng.choice(stage.workers[:workers]).kill)


def kill_all(stage: Stage, _: random.Random, __: int) -> float:
    def kill() -> None:
        for worker in stage.workers:
            worker.kill()

    return stage.recovered(kill)


def join_and_die(stage: Stage, rng: random.Random, _: int) -> float:
    """One more worker takes its share of the partitions, and is killed for good."""
    worker = stage.add_worker()
    wait_for(lambda: worker.get("/readyz")[0] == 200 or not stage.sending, 90, "the newcomer is ready")
    random_pause(rng, 0.0, 1.0)
    stage.retire(worker)
    return stage.recovered(worker.kill)


def set_back(stage: Stage, rng: random.Random, workers: int) -> float:
    """All end, some of them in order, and an operator sets the offsets back to anywhere."""
    mine = stage.workers[:workers]
    for worker in mine:
        stage.retire(worker)
    for worker in mine:
        worker.kill() if rng.random() < 0.5 else worker.stop()
    offsets = committed_of(stage.kafka.bootstrap, stage.prefix)
    commit_by_hand(stage, {number: rng.randint(0, offset) for number, offset in offsets.items()})

    def revive() -> None:
        for worker in mine:
            stage.revive(worker)

    return stage.recovered(revive)


def nothing(stage: Stage, _: random.Random, __: int) -> float:
    return stage.recovered(lambda: None)
