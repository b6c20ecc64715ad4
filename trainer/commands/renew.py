"""`trainer renew`: fits anew as time goes on, judges against the champion, and proposes or promotes."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from stream_detector.choices import one_of
from stream_detector.detection.block_bootstrap import LEAST_DAYS, LEAST_EVENTS
from stream_detector.errors import DataError, UsageError
from trainer.data_options import MlflowOption

if TYPE_CHECKING:
    from stream_detector.bundle.registry import Registry
    from stream_detector.decoding.control_records import Order
    from stream_detector.messages import RenewalDecision
    from stream_detector.settings import Settings
    from trainer.data.dataset import Dataset
    from trainer.fitting.fit import Fitted
    from trainer.recipe import Recipe
    from trainer.renewal.place import Place
    from trainer.renewal.promotion import GroupLog, Way
    from trainer.renewal.round import Renewal
    from trainer.renewal.table_line import TableLine


def command(
    registry: Annotated[
        Path | None,
        typer.Option(
            help="Registry of bundles, a folder or s3://BUCKET/NAME.", show_default="$STREAM_DETECTOR_REGISTRY"
        ),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka brokers: the plant's topics are read, decisions are told to theirs.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A historian's file to read instead of the topics.")] = None,
    asset: Annotated[
        str | None,
        typer.Option(
            help="This machine, where the topics hold several.",
            show_default="of a fleet all that its recipe's `assets` name",
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="What to fit.", show_default="the champion's own recipe")] = None,
    alias: Annotated[str | None, typer.Option(help="Alias of the champion.", show_default="champion")] = None,
    assets: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Where the group has a table of bundles: renew its line with this glob, instead of an alias.",
        ),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Manual: propose; managed: promote what is as good; never: only register.")
    ] = "manual",
    trial_days: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Managed: decide beside the champion for so many days before; 0 = the judged time is enough.",
            show_default=f"{LEAST_DAYS} where topics are read, 0 with --data",
        ),
    ] = None,
    trial_events: Annotated[int, typer.Option(min=1, help="Events that both books have to hold.")] = LEAST_EVENTS,
    switch: Annotated[
        str,
        typer.Option(
            help="Workers change over by a record in their log, by the alias, or (auto) as the alias was last changed."
        ),
    ] = "auto",
    group: Annotated[
        str | None, typer.Option(help="Consumer group of the champion.", show_default="$STREAM_DETECTOR_GROUP")
    ] = None,
    every: Annotated[str, typer.Option(help="Fit anew this often, event time: 12h, 1d, 1w.")] = "1w",
    look: Annotated[str, typer.Option(help="Rounds fall on whole multiples of this, event time.")] = "1d",
    judge: Annotated[str, typer.Option(help="Judge on so much of the newest time.")] = "2w",
    window: Annotated[
        str | None, typer.Option(help="Learn from so much of the newest time.", show_default="all")
    ] = None,
    least_days: Annotated[int, typer.Option(min=1, help="Judged days below which it says nothing.")] = LEAST_DAYS,
    least_events: Annotated[int, typer.Option(min=1, help="Judged events below which it says nothing.")] = LEAST_EVENTS,
    least_saving: Annotated[
        float | None, typer.Option(help="Fit at once where the champion saves less than this part, e.g. 0.05.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="With --once: a round as of this event time (ISO 8601); nothing later counts, and a reading that "
            "shows that the day is over is not waited for.",
            show_default="up to the newest reading",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One round, if one is due, and end: for cron.")] = False,
    pause: Annotated[str, typer.Option(help="Without --once: look again after this long, wall clock.")] = "1h",
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of /metrics, without --once; 0 = any free one.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that fit.")] = 1,
    sign_with: Annotated[Path | None, typer.Option(help="Sign candidates with this Ed25519 key (PEM).")] = None,
    mlflow: MlflowOption = None,
    json: Annotated[
        Path | None, typer.Option(help="With --once: write the decision here; null if none was due.")
    ] = None,
) -> None:
    """Fit the champion's recipe anew on the plant's newest data, and find out in money whether that is better.

    Of a table of bundles one line is renewed, that of --assets: its assets alone are read, and it alone changes, in the
    log. Renewals of several lines run beside each other.

    Every decision is written down in the registry and told to the topic of renewal. It may be killed at any moment: the
    next run finishes what was decided, and does nothing twice. Exit code 1 where a round failed.
    """
    # Before the numerical libraries are imported: each fit runs on one thread, so that equal data gives equal bundles.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

    from stream_detector.bundle.registry import Registry
    from stream_detector.logs import start_logging
    from stream_detector.settings import Settings
    from stream_detector.time_options import parse_moment
    from trainer.backtesting.folds import SECONDS_PER_DAY, retrain_seconds
    from trainer.output import read_key, write_json
    from trainer.recipe import load_recipe
    from trainer.renewal.book import read_book
    from trainer.renewal.policy import Policy, Rules
    from trainer.renewal.promotion import Way
    from trainer.renewal.round import Plan, Renewal

    chosen: Policy = one_of("--policy", get_args(Policy))(policy)
    way: Way = one_of("--switch", get_args(Way))(switch)
    settings = Settings.load(bootstrap=bootstrap, registry=registry, metrics_port=metrics_port, group=group)
    if settings.registry is None:
        raise UsageError("no registry named; use --registry DIR or STREAM_DETECTOR_REGISTRY")
    start_logging(settings.log_level, settings.log_format)
    key_file = settings.bundle_public_key_file
    told = data is None or bootstrap is not None
    if not told and (trial_days or way == "log"):
        raise UsageError("--trial-days and --switch log go by the plant's topics; add --bootstrap HOST:PORT")
    if until is not None and not once:
        raise UsageError("--until is a round as of one moment; add --once")
    judge_seconds = retrain_seconds(judge, "--judge")
    if judge_seconds < least_days * SECONDS_PER_DAY:
        raise UsageError(
            f"--judge {judge} is shorter than --least-days {least_days}: no candidate would ever be put forward; "
            f"judge on {least_days}d or more, or ask for fewer days"
        )
    if assets is not None:
        require_line(assets, alias, way, told=told)
    if trial_days is None:
        trial_days = LEAST_DAYS if data is None else 0
    plan = Plan(
        rules=Rules(
            chosen, retrain_seconds(every, "--every"), least_days, least_events, least_saving, trial_days, trial_events
        ),
        recipe=None if recipe is None else load_recipe(recipe),
        look_seconds=retrain_seconds(look, "--look"),
        judge_seconds=judge_seconds,
        window_seconds=None if window is None else retrain_seconds(window, "--window"),
        until=None if until is None else parse_moment(until, "--until"),
        refit_seconds=min(retrain_seconds(every, "--every"), judge_seconds),
        jobs=jobs,
    )
    found = Registry.create(settings.registry)
    place, accept = place_of(
        settings, found, alias, assets, way, told=told, tries=chosen == "managed" and trial_days > 0
    )
    renewal = Renewal(
        found,
        plan,
        reader(settings, data, asset, place),
        teller(settings) if told else lambda _decision: None,
        time.time,
        None if sign_with is None else read_key(sign_with),
        None if key_file is None else read_key(key_file),
        place,
        partial(read_book, settings, asset=asset, decides=place.decides) if told else None,
        (lambda *_: None) if mlflow is None else tracker(mlflow),
    )
    if once:
        decision = renewal.run()
        say(decision, accept)
        if json is not None:
            write_json(json, None if decision is None else decision.model_dump(mode="json"))
        if decision is not None and decision.outcome == "failed":
            raise SystemExit(1)
        return
    for_ever(renewal, retrain_seconds(pause, "--pause"), settings, accept)


def require_line(assets: str, alias: str | None, way: "Way", *, told: bool) -> None:
    """Raises UsageError where a line cannot be renewed with these options."""
    from stream_detector.commands.log_options import require_glob

    require_glob(assets)
    if alias is not None:
        raise UsageError(f"--alias {alias}: a line of a table has no alias; leave it out")
    if way == "alias":
        raise UsageError("--switch alias: a line of a table changes in the log alone; leave it out")
    if not told:
        raise UsageError(f"--assets {assets} is a line of a running group's table; add --bootstrap HOST:PORT")


def for_ever(renewal: "Renewal", pause_seconds: float, settings: "Settings", accept: Callable[[str], str]) -> None:
    """Round after round; what is in the way is said, and tried again after the pause."""
    import logging

    from stream_detector.errors import StreamDetectorError
    from stream_detector.metrics import RenewalMetrics
    from stream_detector.process_metrics import new_registry
    from stream_detector.streaming.worker.health.metrics_server import MetricsServer
    from trainer.renewal.watched import Watched

    log = logging.getLogger("trainer.renew")
    metrics = RenewalMetrics(new_registry(settings.site, settings.certificates()))
    watched = Watched(metrics, renewal.of, time.time(), renewal.last())
    server = MetricsServer(settings, metrics.registry, health=lambda: None, readiness=lambda: None)
    server.start()
    log.info("metrics on http://%s:%d/metrics", settings.metrics_host, server.port)
    while True:
        try:
            decision = renewal.run()
            watched.looked(time.time(), decision, waits=renewal.waits())
            say(decision, accept)
        except StreamDetectorError as error:
            watched.failed()
            log.warning("%s", error)
        time.sleep(pause_seconds)


def reader(settings: "Settings", data: Path | None, asset: str | None, place: "Place") -> "Callable[[Recipe], Dataset]":
    """Reads the file, or the topics, anew each time: what is said of assets that are decided about at the place."""
    import numpy as np

    from trainer.data.dataset import read_dataset
    from trainer.data.planned import leave_out_planned
    from trainer.data.topic_dataset import read_fleet_dataset, read_topic_dataset

    def read(recipe: "Recipe") -> "Dataset":
        if asset is not None and not place.decides(asset):
            raise UsageError(f"--asset {asset}: another line of the table decides about it")
        if data is not None:
            dataset = read_dataset(data, recipe.data)
            if dataset.asset_rows is not None:
                own = np.array([place.decides(name) for name in dataset.assets], np.bool_)
                dataset = dataset.take(own[dataset.asset_rows])
                if not len(dataset):
                    raise DataError(f"{data}: no row is of an asset that the line decides about")
        elif recipe.fleet is not None and asset is None:
            dataset = read_fleet_dataset(settings, recipe.data, recipe.assets, place.decides)
        else:
            dataset, _ = read_topic_dataset(settings, recipe.data, asset, wanted=place.decides)
        return leave_out_planned(dataset, recipe.data, settings.calendar_file, asset)[0]

    return read


def teller(settings: "Settings") -> "Callable[[RenewalDecision], None]":
    """Tells decisions to the topic of renewal, which is made where it is missing."""
    import asyncio

    from stream_detector.streaming.feeds.sending import send_one
    from stream_detector.streaming.topics.topics import ensure_topics

    def tell(decision: "RenewalDecision") -> None:
        asyncio.run(ensure_topics(settings))
        send_one(settings, settings.topic_renewal, decision.of, decision, "the decision")

    return tell


def writer(settings: "Settings") -> "Callable[[Order, Callable[[], None]], object]":
    """Writes switches into the topic of readings."""
    from stream_detector.commands.log_options import LEAD_SECONDS
    from stream_detector.streaming.feeds.orders import send_switch

    def write(order: "Order", just_before: Callable[[], None]) -> None:
        send_switch(settings, order, lambda: time.sleep(LEAD_SECONDS), just_before)

    return write


def place_of(
    settings: "Settings",
    registry: "Registry",
    alias: str | None,
    assets: str | None,
    way: "Way",
    *,
    told: bool,
    tries: bool,
) -> "tuple[Place, Callable[[str], str]]":
    """What is renewed, and what gives the command that accepts a proposal.

    `told`: there is a running plant. `tries`: candidates decide beside the champion before they are promoted.
    """
    from stream_detector.streaming.feeds.orders import require_one_bundle
    from trainer.renewal.place import AliasPlace
    from trainer.renewal.promotion import Promotions

    if assets is not None:
        line = line_of(settings, registry, assets, tries=tries)
        return line, partial(accepting, settings, settings.group, ["--assets", assets])
    name, challenger = alias or "champion", "challenger"
    promotions = Promotions(registry, way, logs(settings, name, challenger) if told else None)
    check = partial(require_one_bundle, settings) if told else None

    def accept(bundle_id: str) -> str:
        return accepting(settings, promotions.group_of(name), ["--alias", name], bundle_id)

    return AliasPlace(registry, name, challenger, promotions, check), accept


def logs(settings: "Settings", alias: str, challenger: str) -> "dict[str, GroupLog]":
    """Where switches are written for the champion's alias and the challenger's."""
    from trainer.renewal.book import as_challenger
    from trainer.renewal.promotion import GroupLog

    groups = {alias: settings.group, challenger: as_challenger(settings).group}
    return {alias: GroupLog(group, writer(settings)) for alias, group in groups.items()}


def line_of(settings: "Settings", registry: "Registry", assets: str, *, tries: bool) -> "TableLine":
    """The line of the group's table with this glob, and that of its challenger's. `tries`: see `TableLine`."""
    import asyncio

    from stream_detector.streaming.feeds.orders import read_lines
    from trainer.renewal.book import as_challenger
    from trainer.renewal.table_line import GroupTable, TableLine

    champion, challenger = (
        GroupTable(each.group, lambda each=each: asyncio.run(read_lines(each)), writer(each))  # type: ignore[misc]
        for each in (settings, as_challenger(settings))
    )
    return TableLine(registry, assets, champion, challenger, tries=tries)


def accepting(settings: "Settings", group: str | None, options: list[str], bundle_id: str) -> str:
    """The command that accepts a proposal; in the log of `group` where there is one."""
    import shlex

    where = [] if group is None else ["--bootstrap", settings.bootstrap, "--group", group]
    return shlex.join(["stream-detector", "promote", bundle_id, *options, *where])


def tracker(uri: str) -> "Callable[[Fitted, Path, dict[str, Any]], None]":
    """Logs candidates to MLflow, with what the registry keeps of them.

    Raises:
        UsageError: MLflow's client is not installed.
    """
    from stream_detector.extras import need
    from trainer.reports.tracking import Tracker

    need("`--mlflow`", "mlflow")

    def track(fitted: "Fitted", bundle: Path, told: dict[str, Any]) -> None:
        Tracker(uri, fitted.bundle.manifest.recipe).log(fitted, bundle, more={"renewal": told})

    return track


def say(decision: "RenewalDecision | None", accept: Callable[[str], str]) -> None:
    """One decision on standard output. `accept`: gives the command that accepts the proposal of a bundle."""
    if decision is None:
        typer.echo("no round is due")
        return
    candidate = "" if decision.candidate is None else f" candidate {decision.candidate}"
    typer.echo(f"round of {decision.round}:{candidate} {decision.outcome}: {decision.why}")
    if decision.outcome == "proposed":
        typer.echo(f"to accept: {accept(str(decision.candidate))}")
