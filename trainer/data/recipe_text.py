"""A profile as a commented recipe."""

import json
import math

from stream_detector.historian import Layout
from trainer.data.profile import NAMED_IN_FILE, Profile

LISTED = 200
"""Sensors that the comment names."""
WRITTEN = (
    "form", "time_format", "separator", "header", "skip_rows", "unit_rows", "encoding", "tag_column", "value_column",
    "quality_column", "quality_suffix", "good_quality", "asset_column", "asset_pattern",
)  # fmt: skip
"""Settings of a layout that are written where they are not the default."""
DEFAULT = Layout(find_label=False)


def recipe_text(found: Profile) -> str:
    """TOML that `trainer fit` accepts, every choice with its reason."""
    return "\n".join([*_head(found), *_data(found), *_grid(found), *_model(found)]) + "\n"


def _head(found: Profile) -> list[str]:
    lines = [f"title = {_toml(f'Written by trainer init for {found.path.name}')}", ""]
    lines += [f"# {line}" for line in found.history.report.lines()]
    lines += [f"# DECIDE: {question}" for question in found.questions]
    return [*lines, ""]


def _data(found: Profile) -> list[str]:
    layout, lines = found.layout, ["[data]"]
    if layout.without_time:
        lines.append('time_column = ""')
    elif layout.time_column:
        lines.append(f"time_column = {_toml(layout.time_column)}")
    for name in WRITTEN:
        value = getattr(layout, name)
        if value != getattr(DEFAULT, name) and not (name == "separator" and value in (",", ";", "\t")):
            lines.append(f"{name} = {_toml(value)}")
    if found.history.report.decimal == ",":
        lines.append('decimal = ","')
    if not layout.without_time:
        lines.append('# zone = "Europe/Berlin"  # the zone of the times, if they name none and are not UTC')
    if found.asset_candidate:
        lines.append(f"# asset_column = {_toml(found.asset_candidate)}  # DECIDE: does it name the machine?")
    if found.in_names:
        lines.append(f"# asset_pattern = {_toml(NAMED_IN_FILE.pattern)}  # DECIDE: do files' names tell the machine?")
    if found.missing_codes:
        lines.append(
            f"# missing_codes = {_toml(list(found.missing_codes))}  # DECIDE: do they stand for missing values?"
        )
    for name, why in found.label_candidates.items():
        lines.append(f"# label_column = {_toml(name)}  # DECIDE: is this the label? {why}")
    if found.label_candidates:
        lines.append("# label_values = [1]")
        lines.append('# labels_mark = "events"  # "events": a moment such as a break; "states": all anomalous rows')
    dropped = {**found.left_out, **dict.fromkeys(found.constant, "never changes")}
    if dropped:
        lines.append("drop_columns = [")
        lines += [f"  {_toml(name)},  # {' '.join(why.split())}" for name, why in dropped.items()]
        lines.append("]")
    return [*lines, *_sensors(found), ""]


def _sensors(found: Profile) -> list[str]:
    """A comment: which are left, and in what they are measured."""
    told = [f"{name}: {found.units[name]}" if name in found.units else name for name in found.sensors]
    more = [f"#   and {len(told) - LISTED:,} more"] if len(told) > LISTED else []
    head = f"# {len(told):,} sensors with their units, where the file tells them; `sensors` takes some of them alone:"
    return [head, *(f"#   {' '.join(each.split())}" for each in told[:LISTED]), *more]


def _grid(found: Profile) -> list[str]:
    if found.layout.without_time:
        return [
            "[grid]",
            'kind = "table"  # rows are samples without a time',
            "step_seconds = 1",
            "",
            "[window]",
            "steps = 1",
            "",
        ]
    step = nice_step(found.step_seconds)
    shared = found.history.report.equal_times > 0
    return [
        "[grid]",
        f"step_seconds = {step:g}  # rows are usually {found.step_seconds:g} s apart",
        f"lateness_seconds = {step:g}  # a file does not tell how late your bus is; one step is a guess",
        "max_gap_steps = 2  # a longer pause begins a new run; windows never span it",
        *(['close = "watermark"  # some rows share a time: the last value counts'] if shared else []),
        "",
        "[window]",
        f"steps = {window_steps(found)}  # history that a decision looks at",
        "",
    ]


def _model(found: Profile) -> list[str]:
    count = len(found.sensors)
    if count >= 3:
        kind, why = (
            "mahalanobis",
            f"{count} sensors that move together: how far a window lies from their usual correlation",
        )
    else:
        kind, why = "tail-deviation", f"{count} sensors have little to tell of each other: how rare each value is"
    return [
        "[scaler]",
        'kind = "robust"  # median and quartiles: outliers in the past do not stretch the scale',
        "clip = 20  # no single sensor outweighs all others, however far it goes",
        "",
        "[model]",
        f'kind = "{kind}"  # {why}',
        "",
        "[threshold]",
        'policy = "quantile"  # no labels are needed; with labels and [costs] use "cost-optimal"',
        "quantile = 0.99",
    ]


def nice_step(seconds: float) -> float:
    """The step rounded to what a clock would use: three digits."""
    if seconds >= 1:
        return float(round(seconds)) if seconds < 1000 else float(round(seconds, -1))
    return float(f"{seconds:.3g}")


def window_steps(found: Profile) -> int:
    """Ten steps, fewer in a file so short that little would be left."""
    return max(1, min(10, math.floor(len(found.history) / 50)))


def _toml(value: object) -> str:
    """A TOML value; JSON writes strings, numbers, booleans and lists alike."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
