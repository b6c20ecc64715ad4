"""What is broken at each plant, one thing after the other; the plants at the same time."""

import json
import threading
import time
from collections.abc import Callable

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.drill.feed import MACHINES, Change, Values
from tests.drill.judge import NONE, PREFIX, Result
from tests.drill.site import Site
from tests.drill.stand import Stand
from tests.support.plant import SENSORS
from tests.support.stack.workers import topic, wait_for

TALKERS = (0, 4, 5, 6, 7)
"""Machines with which nothing else is wrong at that time."""
FIRE_SECONDS = 420.0
RESOLVE_SECONDS = 480.0
LOOP_SECONDS = 6.0
"""Longer than Prometheus takes between two looks."""
CALM_SECONDS = 60.0
"""What the fault before has left behind is worked off."""
SPIKE = 1_000.0
SPIKE_TICKS = 10
"""An alarm is up for at most so many steps; the next one begins after them."""
FEW_SPIKES_TICKS = 75
"""Rare enough to be no storm and no chattering."""


class Lane:
    """Faults of one plant, each seen through to its end."""

    def __init__(self, stand: Stand, site: str) -> None:
        self.stand, self.site = stand, stand.sites[site]

    def wants(self, alerts: str) -> bool:
        """Whether what ought to raise these alerts (names, separated by spaces) is to be broken here."""
        return self.stand.wants(self.site.name, alerts)

    def begin(self, alert: str, fault: str) -> Result:
        """From now on this alert ought to come."""
        name = alert if alert == NONE else f"{PREFIX}{alert}"
        result = Result(name, self.site.name, fault, broken=time.monotonic())
        self.stand.results.append(result)
        return result

    def fired(self, results: list[Result], seconds: float = FIRE_SECONDS) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and any(one.fired is None or one.told is None for one in results):
            time.sleep(0.5)

    def finish(self, results: list[Result]) -> None:
        """It is mended: wait until nothing of it is left."""
        for one in results:
            one.mended = time.monotonic()
        until = time.monotonic() + RESOLVE_SECONDS
        while time.monotonic() < until and any(one.resolved is None for one in results if one.fired is not None):
            time.sleep(0.5)

    def run(self, fault: str, alerts: str, do: Callable[[], object], mend: Callable[[], object]) -> None:
        """Break, wait for the alerts (names, separated by spaces), mend, wait for their end; or nothing of it."""
        if not self.wants(alerts):
            return
        results = [self.begin(alert, fault) for alert in alerts.split()]
        do()
        self.fired(results)
        mend()
        self.finish(results)


def change(site: Site, machine: str, how: Change | None) -> Callable[[], None]:
    """Sets, or with None takes back, what becomes of a machine's values."""

    def act() -> None:
        if how is None:
            site.feed.changes.pop(machine, None)
        else:
            site.feed.changes[machine] = how

    return act


def without(*sensors: str) -> Change:
    return lambda values: {name: value for name, value in values.items() if name not in sensors}


def nothing(_: Values) -> None:
    """A machine whose gateway is gone."""


def spikes(every: int, first: int = 0) -> Change:
    """Values out of all bounds, once in so many ticks."""
    ticks = iter(range(first, 10**9))
    return lambda values: {**values, "s1": SPIKE} if next(ticks) % every == 0 else values


def words(values: Values) -> Values:
    """Words in place of two of the numbers, each time of other sensors."""
    names, first = sorted(values), int(time.time())
    return {**values, **{names[(first + place) % len(names)]: "error" for place in range(2)}}


class Extra:
    """Records beside the rows of the machines, from `start` to `stop`."""

    def __init__(self, site: Site, make: Callable[[float], list[tuple[bytes, bytes]]]) -> None:
        self._feed, self._make = site.feed, make

    def start(self) -> None:
        self._feed.extra.append(self._make)

    def stop(self) -> None:
        self._feed.extra.remove(self._make)


def malformed(count: int) -> Callable[[float], list[tuple[bytes, bytes]]]:
    return lambda _: [(b"machine-0", b"{")] * count


def of_assets(count: int) -> Callable[[float], list[tuple[bytes, bytes]]]:
    """A row of each of so many assets that nobody has heard of."""
    return lambda now: [
        (f"guest-{number}".encode(), json.dumps({"time": now, "values": dict.fromkeys(SENSORS, 0.1)}).encode())
        for number in range(count)
    ]


def unknown_sensors(now: float) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), json.dumps({"sensor": "renamed", "time": now, "value": 1.0}).encode()) for name in MACHINES]


def ulsan(stand: Stand) -> list[Callable[[], None]]:
    """Processes and brokers."""
    lane, side = Lane(stand, "ulsan"), Lane(stand, "ulsan")
    site, broker = lane.site, stand.kafka_of_ulsan.brokers[0]
    first = site.workers[0]

    def rolling_restart() -> None:
        for worker in site.workers:
            worker.restart()
            wait_for(lambda w=worker: w.ready, 120, f"{worker.name} is ready again", each=0.5)  # type: ignore[misc]

    def renew(stale: list[Result]) -> None:
        lane.fired(stale)
        site.set_bundle(stand.bundles["fresh"])
        rolling_restart()
        lane.finish(stale)

    def processes() -> None:
        stale = []
        if lane.wants("BundleStale"):
            stale.append(lane.begin("BundleStale", "a bundle whose data ends two months ago"))
        if lane.wants(NONE):
            whole = lane.begin(NONE, "both detectors are restarted, one after the other")
            rolling_restart()
            time.sleep(20)
            whole.mended = time.monotonic()
        lane.run("one of two detectors is stopped", "Down", first.stop, first.start)
        lane.run("the broker is suspended", "BrokerAway", broker.pause, broker.resume)
        if stale:
            renew(stale)
        lane.run("no detector is found", "Missing", lambda: stand.show_targets(without="ulsan"), stand.show_targets)

    def people() -> None:
        assert site.forwarder is not None
        side.run("the forwarder is stopped", "ForwarderDown", site.forwarder.stop, site.forwarder.start)

    return [processes, people]


def pohang(stand: Stand) -> list[Callable[[], None]]:
    """What the plant sends."""
    site = stand.sites["pohang"]
    letters, renamed = Extra(site, malformed(1)), Extra(site, unknown_sensors)

    def at_once(fault: str, alerts: str, do: Callable[[], object], mend: Callable[[], object]) -> Callable[[], None]:
        lane = Lane(stand, "pohang")
        return lambda: lane.run(fault, alerts, do, mend)

    def of_machine(number: int, fault: str, alerts: str, how: Change) -> Callable[[], None]:
        machine = MACHINES[number]
        return at_once(fault, alerts, change(site, machine, how), change(site, machine, None))

    def stop(quiet: bool) -> Callable[[], None]:
        return lambda: setattr(site.feed, "quiet", quiet)

    def speak() -> None:
        for number in TALKERS:
            site.feed.changes[MACHINES[number]] = words

    def count_again() -> None:
        for number in TALKERS:
            site.feed.changes.pop(MACHINES[number], None)

    def rename() -> None:
        for machine in MACHINES:
            site.feed.changes[machine] = nothing
        renamed.start()

    def name_again() -> None:
        renamed.stop()
        site.feed.changes.clear()

    def one_by_one() -> None:
        together(
            [
                of_machine(1, "one sensor of five is silent", "SensorsSilent", without("s1")),
                of_machine(2, "two sensors of five are silent", "AssetDegraded", without("s1", "s2")),
                of_machine(3, "one machine of eight is silent", "AssetSilent RestartSlow", nothing),
                at_once("two of five numbers of five machines are words", "CellsMissing", speak, count_again),
                at_once("one record of nine is malformed", "DeadLetters", letters.start, letters.stop),
                at_once(
                    "a certificate that expires in ten days", "CertificateExpires",
                    lambda: stand.give_certificate(days=10), lambda: stand.give_certificate(days=400),
                ),
                at_once(
                    "a log level that is none", "ReloadFailed",
                    lambda: stand.set_log_level("loud"), lambda: stand.set_log_level("INFO"),
                ),
            ]
        )  # fmt: skip
        at_once("nothing arrives", "NoReadings", stop(True), stop(False))()
        at_once("all sensors are renamed", "NothingKnown", rename, name_again)()

    return [one_by_one]


def gumi(stand: Stand) -> list[Callable[[], None]]:
    """Alarms, their delivery, and limits."""
    site = stand.sites["gumi"]
    crowd, flood = Extra(site, of_assets(20)), Extra(site, malformed(40))
    lanes = {name: Lane(stand, "gumi") for name in ("storm", "chatter", "limits", "letters", "drift")}

    def storm() -> None:
        def everywhere() -> None:
            for number, machine in enumerate(MACHINES[:4]):
                site.feed.changes[machine] = spikes(SPIKE_TICKS, first=number)

        def calm() -> None:
            for machine in MACHINES[:4]:
                site.feed.changes.pop(machine, None)

        lanes["storm"].run("four machines raise alarm after alarm", "AlarmStorm", everywhere, calm)

    def chatter() -> None:
        if not lanes["chatter"].wants("Chattering ForwarderStuck"):
            return
        machine = MACHINES[6]
        raising = change(site, machine, spikes(SPIKE_TICKS))
        results = [lanes["chatter"].begin("Chattering", "a machine raises and clears every ten seconds")]
        stuck = [lanes["chatter"].begin("ForwarderStuck", "a webhook answers 503")]
        raising()
        stand.webhook.mode = "refuse"
        lanes["chatter"].fired(results + stuck)
        stand.webhook.mode = "ok"
        change(site, machine, None)()
        lanes["chatter"].finish(results + stuck)

    def limits() -> None:
        lane = lanes["limits"]
        if not lane.wants("AssetsRefused AssetsEvicted"):
            return
        refused = lane.begin("AssetsRefused", "keys of twenty assets more than a partition holds")
        crowd.start()
        lane.fired([refused])
        evicted = lane.begin("AssetsEvicted", "assets that came once and are gone")
        crowd.stop()
        lane.finish([refused])
        lane.fired([evicted])
        lane.finish([evicted])

    def letters() -> None:
        lanes["letters"].run("forty malformed records a second", "DeadLettersDropped", flood.start, flood.stop)

    def drift() -> None:
        if not lanes["drift"].wants("Drift"):
            return
        machine = MACHINES[5]

        def new_bundle() -> None:
            change(site, machine, None)()
            site.set_bundle(stand.bundles["fresh"])
            site.workers[0].restart()

        wider = change(site, machine, lambda values: {name: 2 * float(value) for name, value in values.items()})
        result = lanes["drift"].begin("Drift", "the values of a machine scatter twice as far")
        wider()
        lanes["drift"].fired([result], 900.0)
        new_bundle()
        lanes["drift"].finish([result])

    return [storm, chatter, limits, letters, drift]


def jeju(stand: Stand) -> list[Callable[[], None]]:
    """A machine that is too slow."""
    lane = Lane(stand, "jeju")
    site = lane.site

    def slow(**pace: float) -> Callable[[], object]:
        return lambda: site.pace.write_text(json.dumps(pace))

    def rebuild_slowly() -> None:
        slow(record=0.5)()
        site.workers[0].restart()

    def crash_loop() -> None:
        if not lane.wants("Restarting"):
            return
        result = lane.begin("Restarting", "a detector is killed each time that it is ready")
        while result.fired is None and time.monotonic() < result.broken + FIRE_SECONDS:
            time.sleep(LOOP_SECONDS)
            if site.workers[0].ready:
                site.workers[0].kill()
        lane.fired([result])
        lane.finish([result])

    def one_by_one() -> None:
        crash_loop()
        lane.run("a restart reads its windows back too slowly", "NotReady", rebuild_slowly, site.pace.unlink)
        time.sleep(CALM_SECONDS)
        lane.run("each record takes 0.3 s", "Behind", slow(record=0.3), site.pace.unlink)

    return [one_by_one]


def yeosu(stand: Stand) -> list[Callable[[], None]]:
    """Topics that cannot be written, a network that fails, and a bridge."""
    lane, side = Lane(stand, "yeosu"), Lane(stand, "yeosu")
    site, bridge, mosquitto = lane.site, stand.bridge.service, stand.bridge.mosquitto
    alarms = topic("yeosu", "alarms")

    def unwritable() -> None:
        forbid_writing(stand, alarms)
        change(site, MACHINES[1], spikes(FEW_SPIKES_TICKS, first=FEW_SPIKES_TICKS - 5))()

    def writable() -> None:
        allow_everything(stand, alarms)
        change(site, MACHINES[1], None)()

    def slow_alarms() -> None:
        site.pace.write_text(json.dumps({"batch": 0.9}))
        change(site, MACHINES[1], spikes(FEW_SPIKES_TICKS, first=FEW_SPIKES_TICKS - 5))()

    def quick_alarms() -> None:
        site.pace.unlink()
        change(site, MACHINES[1], None)()

    def one_by_one() -> None:
        lane.run("each batch of a partition takes 0.9 s", "AlarmsSlow", slow_alarms, quick_alarms)
        lane.run("the right to write alarms is taken away", "CommitStuck", unwritable, writable)

    def at_the_edge() -> None:
        cut, mend = stand.proxy.cut, stand.proxy.mend
        side.run("the network of forwarder and bridge is cut", "ForwarderBlind BridgeBlocked", cut, mend)
        side.run("the MQTT broker is stopped", "BridgeBlocked", mosquitto.stop, mosquitto.start)
        bridged = stand.bridge.topic
        side.run(
            "the right to write the bridge's topic is taken away", "BridgeBlocked",
            lambda: forbid_writing(stand, bridged), lambda: allow_everything(stand, bridged),
        )  # fmt: skip
        side.run("the bridge is stopped", "BridgeBlocked", bridge.stop, bridge.start)

    return [one_by_one, at_the_edge]


def forbid_writing(stand: Stand, name: str) -> None:
    """Whoever comes may do everything with this topic but write."""
    admin = AdminClient({"bootstrap.servers": stand.kafka.bootstrap, "log_level": 0})
    for operation, permission in (
        (AclOperation.ALL, AclPermissionType.ALLOW),
        (AclOperation.WRITE, AclPermissionType.DENY),
    ):
        entry = AclBinding(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:*", "*", operation, permission)
        admin.create_acls([entry])[entry].result(10)


def allow_everything(stand: Stand, name: str) -> None:
    """Takes the list of this topic away."""
    entries = AclBindingFilter(
        ResourceType.TOPIC, name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    admin = AdminClient({"bootstrap.servers": stand.kafka.bootstrap, "log_level": 0})
    admin.delete_acls([entries])[entries].result(10)


def together(work: list[Callable[[], None]]) -> None:
    """Does all of it at once, each in a thread that ends with the process.

    Raises:
        RuntimeError: something could not be done.
    """
    faults: list[BaseException] = []

    def do(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=do, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise RuntimeError(f"a fault could not be made: {faults[0]}") from faults[0]


PLANTS: dict[str, Callable[[Stand], list[Callable[[], None]]]] = {
    "ulsan": ulsan,
    "pohang": pohang,
    "gumi": gumi,
    "jeju": jeju,
    "yeosu": yeosu,
}
