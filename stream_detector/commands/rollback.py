"""`stream-detector rollback`: an alias stands again for what it stood for before the last promotion."""

from typing import Annotated

import typer

from stream_detector.commands.bundles import RegistryOption
from stream_detector.commands.log_options import (
    AliasOption,
    AssetsOption,
    AtOption,
    BootstrapOption,
    GroupOption,
    RoleOption,
    WhoOption,
    WhyOption,
)


def command(
    alias: AliasOption = None,
    registry: RegistryOption = None,
    who: WhoOption = None,
    why: WhyOption = "",
    bootstrap: BootstrapOption = None,
    group: GroupOption = None,
    role: RoleOption = None,
    assets: AssetsOption = None,
    at: AtOption = None,
    withdraw: Annotated[
        bool,
        typer.Option(
            "--withdraw", help="Its bundle will never come: workers that stand before its record pass it over."
        ),
    ] = False,
) -> None:
    """Take back the last promotion of an alias that is not taken back yet; again for the one before it.

    With --bootstrap in the log, as `promote` does it. With --withdraw too, workers that cannot use the bundle of that
    promotion, and wait for it before its record, go on with the one that they have.

    With --assets that of a line of a table; a line that the promotion had put in is taken out.
    """
    import time

    from stream_detector.bundle.registry import LineChange
    from stream_detector.commands.bundles import open_registry, user
    from stream_detector.commands.log_options import alias_of, lines_of, log_settings, switch_in_log
    from stream_detector.errors import UsageError
    from stream_detector.messages import to_iso

    settings = log_settings(bootstrap, group, role, assets, at)
    if withdraw and settings is None:
        raise UsageError("--withdraw takes a record of the log back; add --bootstrap HOST:PORT")
    found, by, name = open_registry(registry), who or user(), alias_of(alias, settings)

    def change() -> None:
        of = None if settings is None else settings.group
        back = found.roll_back(name, to_iso(time.time()), by, why, of)
        print(f"{found}/{name} stands for {back.bundle} again", flush=True)

    if settings is None:
        change()
        return
    if assets is None or not lines_of(settings, assets, alias):
        switch_in_log(settings, found.before(name), by, why, at, change, found.resolve(name) if withdraw else None)
        return
    now, before = found.line_before(settings.group, assets)
    taken_back = now if withdraw else None
    switch_in_log(settings, before or now, by, why, at, lambda: None, taken_back, assets=assets, drop=before is None)
    # Afterwards, as with a promotion.
    found.change_line(
        settings.group,
        LineChange(
            at=to_iso(time.time()), who=by, what="rolled back", assets=assets, bundle=before, instead_of=now, why=why
        ),
    )
