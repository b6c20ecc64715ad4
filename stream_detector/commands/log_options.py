"""What `promote` and `rollback` share: options for a switch in the log, and writing it there."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream_detector.decoding.held_table import HeldTable
    from stream_detector.settings import Settings

LEAD_SECONDS = 5.0
"""In which workers that are told of a bundle fetch, check and load it."""

LONGEST_GLOB = 249

BootstrapOption = Annotated[
    str | None,
    typer.Option(help="Kafka brokers, HOST:PORT: switch in the log, without a restart. Without it the alias alone."),
]
GroupOption = Annotated[
    str | None, typer.Option(help="Consumer group that is to switch.", show_default="$STREAM_DETECTOR_GROUP")
]
RoleOption = Annotated[str | None, typer.Option(help="`challenger`: the challenger's group.")]
AssetsOption = Annotated[
    str | None,
    typer.Option(
        metavar="GLOB",
        help="In the log, as --bootstrap says; where the group has a table of bundles, its line with this glob alone.",
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option(help="Switch in the log at this time (ISO 8601); the command waits for it, and writes then."),
]
WhoOption = Annotated[str | None, typer.Option(help="Who decides that.", show_default="the user's name")]
WhyOption = Annotated[str, typer.Option(help="Why, in words.")]
AliasOption = Annotated[
    str | None,
    typer.Option(help="The name that is to stand for it.", show_default="champion; challenger with --role challenger"),
]


def alias_of(alias: str | None, settings: "Settings | None") -> str:
    """The alias that is asked for, or that of the role whose log is to switch."""
    return alias or ("champion" if settings is None else settings.role)


def log_settings(
    bootstrap: str | None, group: str | None, role: str | None, assets: str | None, at: str | None
) -> "Settings | None":
    """The settings with which to write into the log; None where nothing of that is asked for."""
    from stream_detector.errors import UsageError
    from stream_detector.settings import Settings

    if bootstrap is None and assets is None and at is None:
        if group is not None or role is not None:
            raise UsageError("--group and --role say whose log is to switch; add --bootstrap HOST:PORT")
        return None
    return Settings.load(bootstrap=bootstrap, group=group, role=role).in_role()


def switch_in_log(
    settings: "Settings",
    bundle_id: str,
    who: str,
    why: str,
    at: str | None,
    just_before: Callable[[], None],
    withdraw: str | None = None,
    assets: str = "",
    *,
    drop: bool = False,
) -> None:
    """Announce the bundle to the group, wait, and write the switch into every partition.

    `withdraw`: a bundle whose switch is taken back for those who stand before it. `assets`: glob of the line of a table
    that is to change; `drop`: it names the bundle until now, and is taken out.

    Raises:
        BrokerError: not every partition took it.
        UsageError: the time lies in the past.
    """
    import time

    from stream_detector.decoding.control_records import DROP_LINE, Order
    from stream_detector.errors import UsageError
    from stream_detector.messages import to_iso
    from stream_detector.streaming.feeds.orders import send_switch
    from stream_detector.time_options import parse_moment

    now = time.time()
    moment = now + LEAD_SECONDS if at is None else parse_moment(at, "--at")
    if moment < now:
        raise UsageError(f"--at {at} is over; what is decided cannot be decided anew")
    order = Order(DROP_LINE if drop else "", settings.group, bundle_id, to_iso(moment), who, why, assets)

    def wait() -> None:
        while (left := moment - time.time()) > 0:
            time.sleep(min(left, 60.0))

    count = send_switch(settings, order, wait, just_before, withdraw)
    by = "less specific lines of its table" if drop else bundle_id
    of = f" for {assets!r}" if assets else ""
    print(f"group {settings.group} decides{of} by {by} from the records in {count} partitions of "
          f"{settings.topic_readings} on")  # fmt: skip


def require_glob(assets: str) -> None:
    """Raises UsageError where this is no glob that a line of a table may have."""
    from stream_detector.errors import UsageError

    if not assets or len(assets) > LONGEST_GLOB or not assets.isprintable():
        raise UsageError(
            f"--assets {assets!r}: a glob over names of assets is wanted, {LONGEST_GLOB} characters at most"
        )


def lines_of(settings: "Settings", assets: str | None, alias: str | None) -> "list[HeldTable]":
    """The tables that the group's partitions are decided by, where the line of some assets is to change; else none.

    Raises:
        BrokerError: the topic of state cannot be read.
        UsageError: the group decides by one bundle, and `assets` are not all of its assets; or by a table, and an alias
            is named, which no line has.
    """
    import asyncio

    from stream_detector.errors import UsageError
    from stream_detector.streaming.feeds.orders import NO_TABLE, read_lines

    if assets is None:
        return []
    require_glob(assets)
    found = asyncio.run(read_lines(settings))
    if not found and assets != "*":
        raise UsageError(NO_TABLE.format(group=settings.group, assets=assets))
    if found and alias is not None:
        raise UsageError(f"--alias {alias}: a line of a table has no alias; leave it out, or name another --group")
    return found
