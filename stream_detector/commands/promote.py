"""`stream-detector promote`: another bundle decides from now on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from stream_detector.decoding.held_table import HeldTable


def command(
    bundle: Annotated[str, typer.Argument(help="Id, the beginning of one, or another alias, e.g. `challenger`.")],
    alias: AliasOption = None,
    registry: RegistryOption = None,
    who: WhoOption = None,
    why: WhyOption = "",
    public_key: Annotated[
        Path | None,
        typer.Option(
            help="Ed25519 public key (PEM): the bundle must be signed by it.",
            show_default="$STREAM_DETECTOR_BUNDLE_PUBLIC_KEY_FILE",
        ),
    ] = None,
    bootstrap: BootstrapOption = None,
    group: GroupOption = None,
    role: RoleOption = None,
    assets: AssetsOption = None,
    at: AtOption = None,
) -> None:
    """Let an alias stand for a bundle, and a group change over to it. `rollback` undoes it.

    With --bootstrap the switch is in the log: one record in every partition of the readings, from which on the bundle
    decides, in running workers. Without it the alias changes, and workers that run it begin again with the other.

    A group with a table of bundles changes one line of it, that of --assets, also where there was none; no alias does.

    The bundle and its record are checked as a worker would before anything is changed.
    """
    import time

    from stream_detector.bundle.registration import check_registered
    from stream_detector.bundle.registry import LineChange
    from stream_detector.commands.bundles import open_registry, read_public_key, user
    from stream_detector.commands.log_options import alias_of, lines_of, log_settings, switch_in_log
    from stream_detector.messages import to_iso

    settings = log_settings(bootstrap, group, role, assets, at)
    found, by, name = open_registry(registry), who or user(), alias_of(alias, settings)
    bundle_id = found.resolve(bundle)
    check_registered(found, bundle_id, read_public_key(public_key))

    def change() -> None:
        of = None if settings is None else settings.group
        changed = found.promote(name, bundle_id, to_iso(time.time()), by, why, of)
        print(f"{found}/{name} stands for {bundle_id}{'' if changed else ' already'}", flush=True)

    if settings is None:
        change()
        return
    tables = lines_of(settings, assets, alias)
    if not tables or assets is None:
        switch_in_log(settings, bundle_id, by, why, at, change)
        return
    before = _line_before(tables, assets, bundle_id)
    switch_in_log(settings, bundle_id, by, why, at, lambda: None, assets=assets)
    # Afterwards: where not every partition took its record, the same command does the whole again.
    found.change_line(
        settings.group,
        LineChange(
            at=to_iso(time.time()), who=by, what="promoted", assets=assets, bundle=bundle_id, instead_of=before, why=why
        ),
    )


def _line_before(tables: "list[HeldTable]", assets: str, bundle_id: str) -> str | None:
    """What the line names now, in most partitions. UsageError where it cannot name the bundle."""
    from collections import Counter

    from stream_detector.errors import UsageError

    for held in tables:
        try:
            held.changed(assets, bundle_id, 0, 0, None)
        except ValueError as error:
            raise UsageError(f"--assets {assets}: {error}") from None
    return Counter(held.owner_of(assets) for held in tables).most_common(1)[0][0]
