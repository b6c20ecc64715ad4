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
from stream_detector.errors import UsageError
from trainer.data_options import MlflowOption

if TYPE_CHECKING:
    from stream_detector.decoding.control_records import Order
    from stream_detector.messages import RenewalDecision
    from stream_detector.settings import Settings
    from trainer.data.dataset import Dataset
    from trainer.fitting.fit import Fitted
    from trainer.recipe import Recipe
    from trainer.renewal.promotion import GroupLog
    from trainer.renewal.round import Plan, Renewal


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
    alias: Annotated[str, typer.Option(help="Alias of the champion.")] = "champion",
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
    from trainer.backtesting.folds import retrain_seconds
    from trainer.output import read_key, write_json
    from trainer.recipe import load_recipe
    from trainer.renewal.book import read_book
    from trainer.renewal.policy import Policy, Rules
    from trainer.renewal.promotion import Promotions, Way
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
    if trial_days is None:
        trial_days = LEAST_DAYS if data is None else 0
    plan = Plan(
        rules=Rules(chosen, retrain_seconds(every), least_days, least_events, least_saving, trial_days, trial_events),
        alias=alias,
        recipe=None if recipe is None else load_recipe(recipe),
        look_seconds=retrain_seconds(look),
        judge_seconds=retrain_seconds(judge),
        window_seconds=None if window is None else retrain_seconds(window),
        until=None if until is None else parse_moment(until, "--until"),
        refit_seconds=min(retrain_seconds(every), retrain_seconds(judge)),
        jobs=jobs,
    )
    found = Registry.create(settings.registry)
    promotions = Promotions(found, way, logs(settings, plan) if told else None)
    renewal = Renewal(
        found,
        plan,
        reader(settings, data, asset),
        teller(settings) if told else lambda _decision: None,
        time.time,
        None if sign_with is None else read_key(sign_with),
        None if key_file is None else read_key(key_file),
        promotions,
        partial(read_book, settings, asset=asset) if told else None,
        (lambda *_: None) if mlflow is None else tracker(mlflow),
    )

    def accept() -> str:
        return accepting(settings, promotions.group_of(alias), alias)

    if once:
        decision = renewal.run()
        say(decision, accept)
        if json is not None:
            write_json(json, None if decision is None else decision.model_dump(mode="json"))
        if decision is not None and decision.outcome == "failed":
            raise SystemExit(1)
        return
    for_ever(renewal, retrain_seconds(pause), settings, accept)


def for_ever(renewal: "Renewal", pause_seconds: float, settings: "Settings", accept: Callable[[], str]) -> None:
    """Round after round; what is in the way is said, and tried again after the pause."""
    import logging

    from stream_detector.errors import StreamDetectorError
    from stream_detector.metrics import RenewalMetrics
    from stream_detector.process_metrics import new_registry
    from stream_detector.streaming.worker.health.metrics_server import MetricsServer
    from trainer.renewal.watched import Watched

    log = logging.getLogger("trainer.renew")
    metrics = RenewalMetrics(new_registry(settings.site, settings.certificates()))
    watched = Watched(metrics, time.time(), renewal.last())
    server = MetricsServer(settings, metrics.registry, health=lambda: None, readiness=lambda: None)
    server.start()
    log.info("metrics on http://%s:%d/metrics", settings.metrics_host, server.port)
    while True:
        try:
            decision = renewal.run()
            watched.looked(time.time(), decision)
            say(decision, accept)
        except StreamDetectorError as error:
            watched.failed()
            log.warning("%s", error)
        time.sleep(pause_seconds)


def reader(settings: "Settings", data: Path | None, asset: str | None) -> "Callable[[Recipe], Dataset]":
    """Reads the file, or the topics, anew each time."""
    from trainer.data.dataset import read_dataset
    from trainer.data.planned import leave_out_planned
    from trainer.data.topic_dataset import read_fleet_dataset, read_topic_dataset

    def read(recipe: "Recipe") -> "Dataset":
        if data is not None:
            dataset = read_dataset(data, recipe.data)
        elif recipe.fleet is not None and asset is None:
            dataset = read_fleet_dataset(settings, recipe.data, recipe.assets)
        else:
            dataset, _ = read_topic_dataset(settings, recipe.data, asset)
        return leave_out_planned(dataset, recipe.data, settings.calendar_file, asset)[0]

    return read


def teller(settings: "Settings") -> "Callable[[RenewalDecision], None]":
    """Tells decisions to the topic of renewal, which is made where it is missing."""
    import asyncio

    from stream_detector.streaming.feeds.sending import send_one
    from stream_detector.streaming.topics.topics import ensure_topics

    def tell(decision: "RenewalDecision") -> None:
        asyncio.run(ensure_topics(settings))
        send_one(settings, settings.topic_renewal, decision.alias, decision, "the decision")

    return tell


def logs(settings: "Settings", plan: "Plan") -> "dict[str, GroupLog]":
    """Where switches are written for the champion's alias and the challenger's."""
    from stream_detector.commands.log_options import LEAD_SECONDS
    from stream_detector.streaming.feeds.orders import send_switch
    from trainer.renewal.book import challenger_group
    from trainer.renewal.promotion import GroupLog

    def write(order: "Order", just_before: Callable[[], None]) -> None:
        send_switch(settings, order, lambda: time.sleep(LEAD_SECONDS), just_before)

    groups = {plan.alias: settings.group, plan.challenger: challenger_group(settings)}
    return {alias: GroupLog(group, write) for alias, group in groups.items()}


def accepting(settings: "Settings", group: str | None, alias: str) -> str:
    """The command that accepts a proposal, without the bundle; in the log of `group` where there is one."""
    where = "" if group is None else f" --bootstrap {settings.bootstrap} --group {group}"
    return f"stream-detector promote {{}} --alias {alias}{where}"


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


def say(decision: "RenewalDecision | None", accept: Callable[[], str]) -> None:
    """One decision on standard output. `accept`: gives the command that accepts a proposal, {} for the bundle."""
    if decision is None:
        typer.echo("no round is due")
        return
    candidate = "" if decision.candidate is None else f" candidate {decision.candidate}"
    typer.echo(f"round of {decision.round}:{candidate} {decision.outcome}: {decision.why}")
    if decision.outcome == "proposed":
        typer.echo(f"to accept: {accept().format(decision.candidate)}")
