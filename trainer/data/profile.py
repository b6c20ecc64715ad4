"""Profiles a file that nobody has described: its form, its time, its sensors, and what a person must decide."""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.extras import need
from stream_detector.historian import History, Layout, files_of, read_histories
from stream_detector.historian.assets import ASSET_NAMES
from stream_detector.historian.columns import TextCellError
from stream_detector.historian.delimited import HEAD_LINES, names_separator, separator_of
from stream_detector.historian.encoding import text_of
from stream_detector.historian.excel_files import sheet_rows
from stream_detector.historian.layout import LABEL_NAMES, MISSING_WORDS
from stream_detector.historian.numbers import GROUPED
from stream_detector.historian.reader import EXCEL, PARQUET
from stream_detector.historian.report import ReadReport
from stream_detector.historian.roles import NoSensorError
from stream_detector.historian.times import EXCEL_YEARS
from trainer.data.units import units_of

MOST_TEXT_COLUMNS = 200

TAGS = (
    "tag", "tagname", "tag_name", "tagid", "tag_id", "varname", "pointname", "point_name", "itemname", "sensor",
    "sensor_id", "point", "signal", "variable", "metric", "name",
)  # fmt: skip
MEANS_TAG = TAGS[:9]
"""These mean nothing else, however many columns there are beside them."""
VALUES = ("value", "val", "reading", "varvalue", "floatvalue", "pointvalue", "itemvalue", "tagvalue", "numericvalue")
QUALITIES = (
    "quality",
    "status",
    "q",
    "quality_code",
    "opcquality",
    "validity",
    "dataintegrity",
    "qualitydetail",
    "good",
)
USUAL_QUALITIES = (
    "_q",
    "_quality",
    "_qual",
    "_qc",
    "_status",
    "_st",
    ".q",
    ".quality",
    ".status",
    " quality",
    " status",
)
"""Behind a sensor's name they make the name of the column of its qualities, in lower case."""
MOST_LABELS = 50
TIME_WORDS = ("time", "date", "stamp", "zeit", "datum", "fecha", "hora", "heure", "temps", "ts")
USUAL_LABELS = (*LABEL_NAMES, "class", "fault", "attack", "outlier", "failure", "target", "changepoint")
WELL_LOG_CODE = -999.25
LEAST_MIXED = 0.001
"""Share of the rows out of order from which a file is taken for one of several machines."""
MOST_ASSETS, MOST_TRIED = 5_000, 6
LEAST_CODES, LEAST_VALUES = 3, 10
"""Cells that hold a suspected code, and different values beside it: below them there is nothing to judge by."""
SMALLEST_TIME = 1e6
"""Below it a number in a column without a name is that of a row."""

NAMED_IN_FILE = re.compile(r"[A-Za-z]+-?\d+")
"""What a machine is mostly called in a file's name: letters and a number."""

LIKE_A_LABEL = re.compile(
    r"(?<![a-z])(?:labels?|fail(?:ed|ure)?|fault(?:y)?|anomal(?:y|ous)|attack|outlier|defect)(?![a-z])"
)

NUMBER = re.compile(r"^[-+]?(?:\d+(?:[.,]\d*)*|[.,]\d+)(?:[eE][-+]?\d+)?$")
WITH_UNIT = re.compile(r"^[-+]?\d+(?:[.,]\d+)*\s*(?:°|%|[A-Za-zµ])[^\d,;]*$")
CLOCK = re.compile(r"^\d{1,2}:\d\d(?::\d\d)?(?:\s*[AaPp][Mm])?$|^\d{1,2}\.\d\d\.\d\d$")
DATE = re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T.].*)?$|^\d{1,2}-[A-Za-z]{3}-\d{2,4}(?:[ T].*)?$")
DAY = re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}$|^\d{1,2}-[A-Za-z]{3}-\d{2,4}$")


@dataclass
class Profile:
    """What was found out about a file.

    Attributes:
        layout: how it is read.
        history: its content.
        left_out: {column: why it is no sensor}.
        constant: sensors that never change or are empty; they stay out too.
        counters: columns that increase in every row.
        label_candidates: {column: what speaks for it being the label}. They are asked for, never assumed.
        missing_codes: {number: sensors where it lies far outside of all other values, again and again}.
        questions: what a person must decide.
        asset_candidate: a column with an asset's name that a file reads well without; it is asked for. in_names: so are
            the names of the files.
        units: {sensor: unit}, where the file tells it.
    """

    path: Path
    layout: Layout
    history: History
    left_out: dict[str, str] = field(default_factory=dict)
    constant: list[str] = field(default_factory=list)
    counters: list[str] = field(default_factory=list)
    label_candidates: dict[str, str] = field(default_factory=dict)
    missing_codes: dict[float, list[str]] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)
    asset_candidate: str | None = None
    in_names: bool = False
    units: dict[str, str] = field(default_factory=dict)

    @property
    def step_seconds(self) -> float:
        """The usual pause between rows; 1 where rows have no time."""
        step = self.history.report.median_step_seconds
        return 1.0 if self.layout.without_time or not math.isfinite(step) else step

    @property
    def sensors(self) -> list[str]:
        """The sensors that are left."""
        return [name for name in self.history.sensors if name not in self.constant and name not in self.left_out]


def profile(*paths: Path) -> Profile:
    """Find out how a file is to be read, or several that are written alike, and read them.

    Raises:
        DataError: it cannot be read; the message says what a person must decide.
    """
    layout = sniff(files_of(paths[0])[0])
    left_out: dict[str, str] = {}
    history = _read_without_texts(paths, layout, left_out)
    candidate, pattern = None, False
    if layout.asset_column and layout.form == "wide" and not _needs_assets(history):
        candidate, layout = layout.asset_column, replace(layout, asset_column=None)
        left_out.clear()
        history = _read_without_texts(paths, layout, left_out)
    elif not history.assets and layout.form == "wide":
        if _is_mixed(history):
            layout, history = _with_assets(paths, layout, left_out, history)
        pattern = not history.assets and _assets_in_names(paths)
    if layout.asset_column:
        history.report.found_out.append(f"column {layout.asset_column!r} names the assets: time ascends within each")
    elif len(history.assets) > 1:
        source = "files" if layout.asset_pattern else "folders"
        history.report.found_out.append(f"the {source} name the assets: time ascends within each")
    layout = replace(layout, ignore=tuple(left_out))
    units = units_of(files_of(paths[0])[0], layout, history.sensors)
    found = Profile(paths[0], layout, history, left_out, asset_candidate=candidate, in_names=pattern, units=units)
    _judge_sensors(found)
    _judge_times(found)
    _judge_codes(found)
    _judge_qualities(found)
    return found


def sniff(path: Path) -> Layout:
    """Form, header, separator, units and time columns, from the first lines."""
    anything = Layout(find_label=False)
    suffix = path.suffix.lower()
    if suffix in EXCEL:
        _, cells = sheet_rows(path, None, ReadReport())
        found = [_trimmed(row) for row in islice(cells, HEAD_LINES)]
        return _of_rows(anything, found, False) if any(found) else anything
    if suffix in PARQUET:
        return _of_parquet(path, anything)
    text = text_of(path, None)
    layout = replace(anything, encoding=text.encoding if text.guessed else None)
    lines = list(islice(text.lines(), HEAD_LINES))
    if lines[0].startswith(("#group", "#datatype", "#default")):
        return replace(layout, form="influx", time_column="_time")
    marked = names_separator(lines[0])
    separator = separator_of(lines[1:] if marked else lines)
    rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    return _of_rows(replace(layout, separator=separator), rows, marked)


def _of_rows(layout: Layout, rows: list[list[str]], marked: bool) -> Layout:
    """The layout that the first rows show; `marked`: their separator stands in a line above."""
    header = _header(rows)
    if header is None:
        first = "c1" if DATE.match(rows[0][0].strip()) else ""
        return replace(layout, header=False, time_column=first)
    names = [name.strip() for name in rows[header]]
    body = [row for row in rows[header + 1 :] if len(row) >= len(names)]
    unit_rows = 0
    while unit_rows < min(3, len(body) - 1) and not any(_is_data(cell) for cell in body[unit_rows]):
        unit_rows += 1
    layout = replace(layout, skip_rows=0 if marked else header, unit_rows=unit_rows)
    body = body[unit_rows:]
    lower = [name.lower() for name in names]
    tag, value = _first(lower, TAGS), _first(lower, VALUES)
    if tag is not None and value is not None and (len(names) <= 6 or lower[tag] in MEANS_TAG):
        quality = _first(lower, QUALITIES)
        time = _time_column(names, body, skip={tag, value})
        return replace(
            layout, form="long", tag_column=names[tag], value_column=names[value], time_column=time,
            quality_column=None if quality is None else names[quality], asset_column=_asset_column(names, body),
            good_quality=layout.good_quality if quality is None else _good_quality(row[quality] for row in body),
        )  # fmt: skip
    time_column = _time_column(names, body)
    layout = replace(layout, asset_column=_asset_column(names, body))
    layout = _with_qualities(layout, names, body)
    if isinstance(time_column, str) and body and _is_excel_day(body[0][max(0, _place(names, time_column))]):
        layout = replace(layout, time_format="excel")
    if marked or any(WITH_UNIT.match(cell.strip()) for row in body[:50] for cell in row[1:]):
        return replace(layout, form="grafana", time_column=time_column or names[0], skip_rows=0, separator=None)
    return replace(layout, time_column=time_column if time_column is not None else "")


def _header(rows: list[list[str]]) -> int | None:
    """Number of the row with the names; None where the first row holds data already."""
    widths = [len(row) for row in rows]
    usual = max(set(widths), key=widths.count)
    for number, row in enumerate(rows):
        if abs(len(row) - usual) <= 1 and len(row) > 1:
            if len(row) != usual and any(map(_are_names, (each for each in rows[number + 1 :] if len(each) == usual))):
                continue  # a title that happens to hold a separator
            cells = [cell.strip() for cell in row if cell.strip()]
            data = sum(_is_data(cell) for cell in cells)
            return None if number == 0 and data > len(cells) / 2 else number
    return 0


def _are_names(row: list[str]) -> bool:
    return all(cell.strip() and not _is_data(cell) for cell in row)


def _time_column(names: list[str], body: list[list[str]], skip: set[int] = frozenset()) -> str | tuple[str, ...] | None:  # type: ignore[assignment]
    if not body:
        return None
    cells = [cell.strip() for cell in body[0]]
    usual = [number for number, name in enumerate(names) if number not in skip and _is_usual(name)]
    dated = [
        number for number in [*usual, *range(min(3, len(names)))] if number not in skip and DATE.match(cells[number])
    ]
    # Dates before numbers: a first column without a name mostly counts the rows.
    numbered = [
        number for number in usual if NUMBER.match(cells[number]) and _may_be_time(names[number], cells[number])
    ]
    if not (dated or numbered):
        return None
    number = (dated or numbered)[0]
    following = number + 1
    if following < len(names) and DAY.match(cells[number].removesuffix("T00:00:00")) and CLOCK.match(cells[following]):
        return (names[number], names[following])
    return names[number] or "column 1"


def _is_usual(name: str) -> bool:
    lower = name.lower()
    return lower in ("", "index", "ts", "dt", "epoch") or any(word in lower for word in TIME_WORDS[:-1])


def _may_be_time(name: str, cell: str) -> bool:
    """Whether a number is one; where the name does not speak for it, it must not be the number of a row."""
    if "," in cell:
        return _is_excel_day(cell)
    return name.lower() not in ("", "index") or float(cell) >= SMALLEST_TIME


def _asset_column(names: list[str], body: list[list[str]]) -> str | None:
    """A column with an asset's name whose cells are names or whole numbers."""
    number = _first([name.lower() for name in names], ASSET_NAMES)
    if number is None or not all(row[number].strip() and _may_name(row[number].strip()) for row in body):
        return None
    return names[number]


def _may_name(cell: str) -> bool:
    return cell.isdigit() or not _is_data(cell)


def _good_quality(cells: Iterable[str]) -> tuple[str, ...]:
    """The usual words for a good value; where none of them is there, the most frequent of those that are."""
    counts = Counter(cell.strip().lower() for cell in cells)
    usual = Layout().good_quality
    if not counts or counts.keys() & set(usual):
        return usual
    return (counts.most_common(1)[0][0],)


def _with_qualities(layout: Layout, names: list[str], body: list[list[str]]) -> Layout:
    """The layout for columns of qualities beside those of the values, where these hold a usual word for a good one.

    Any other word may as well tell whether a pump runs.
    """
    for suffix, places in _beside(names):
        if {row[place].strip().lower() for place in places for row in body} & set(layout.good_quality):
            return replace(layout, quality_suffix=suffix)
    return layout


def _beside(names: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Each usual end of a name of qualities, as written, and the columns that have it behind the name of another."""
    lower = [name.lower() for name in names]
    for suffix in USUAL_QUALITIES:
        places = [
            place
            for place, name in enumerate(lower)
            if name.endswith(suffix) and name.removesuffix(suffix).rstrip() in lower
        ]
        if places:
            yield names[places[0]][-len(suffix) :], places


def _is_excel_day(cell: str) -> bool:
    text = cell.strip().replace(",", ".")
    return bool(re.match(r"^\d{5}\.\d+$", text)) and EXCEL_YEARS[0] <= float(text) < EXCEL_YEARS[1]


def _place(names: list[str], name: str) -> int:
    return names.index(name) if name in names else 0


def _trimmed(row: list[str]) -> list[str]:
    while row and not row[-1]:
        row.pop()
    return row


def _of_parquet(path: Path, layout: Layout) -> Layout:
    """Wide, or long where the columns' names say so."""
    need(f"reading {path}", "pyarrow")
    import pyarrow.parquet as parquet

    try:
        names = parquet.read_schema(path).names
    except (OSError, ValueError):
        return layout  # the reader says what is wrong
    lower = [name.lower() for name in names]
    tag, value, quality = (_first(lower, usual) for usual in (TAGS, VALUES, QUALITIES))
    asset = _first(lower, ASSET_NAMES)
    layout = replace(layout, asset_column=None if asset is None else names[asset])
    if tag is None or value is None or (len(names) > 6 and lower[tag] not in MEANS_TAG):
        return layout
    return replace(
        layout, form="long", tag_column=names[tag], value_column=names[value],
        quality_column=None if quality is None else names[quality],
        time_column=next((name for name in names if _is_usual(name) and name.lower() not in ("", "index")), None),
    )  # fmt: skip


def _first(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _is_data(cell: str) -> bool:
    text = cell.strip()
    return bool(NUMBER.match(text) or DATE.match(text) or CLOCK.match(text)) or (
        text != "" and text.lower() in MISSING_WORDS
    )


def _read_without_texts(paths: Sequence[Path], layout: Layout, left_out: dict[str, str]) -> History:
    """Read, leaving out one column after another that holds text."""
    while True:
        try:
            return read_histories(paths, replace(layout, ignore=tuple(left_out)))
        except TextCellError as error:
            if error.column in left_out or len(left_out) >= MOST_TEXT_COLUMNS:
                raise
            kind = "times" if DATE.match(error.text.strip()) else "text"
            if GROUPED.match(error.text.strip()):
                kind = "thousands or decimals (say which mark is what: decimal, thousands)"
            left_out[error.column] = f"holds {kind}, such as {error.text!r} in data row {error.row + 1}"
        except NoSensorError as error:
            if not left_out:
                raise
            column, why = next(iter(left_out.items()))
            raise NoSensorError(f"{error}; {len(left_out)} of them cannot be one, for {column!r} {why}") from None


def _is_mixed(history: History) -> bool:
    """Whether rows are out of order, or share a time, as those of several machines do."""
    report = history.report
    return report.steps_back + report.equal_times > LEAST_MIXED * len(history)


def _needs_assets(history: History) -> bool:
    """Whether the rows are in order within each asset, and would not be without them."""
    steps_back = int((np.diff(history.times) < 0).sum())
    equal_times = len(history) - len(np.unique(history.times))
    mixed = steps_back > 0 or equal_times > LEAST_MIXED * len(history)
    return len(history.assets) > 1 and not _is_mixed(history) and mixed


def _with_assets(
    paths: Sequence[Path], layout: Layout, left_out: dict[str, str], history: History
) -> tuple[Layout, History]:
    """The layout whose asset column brings the rows into order, and what it reads; as they were where there is none."""
    # Any number that repeats can bring rows into order by chance; a name must speak for it.
    whole = [
        name
        for place, name in enumerate(history.sensors)
        if name.lower() in ASSET_NAMES
        and len(values := np.unique(history.values[:, place])) <= MOST_ASSETS
        and (values == np.floor(values)).all()
    ]
    if _assets_in_names(paths):
        tried = replace(layout, asset_pattern=NAMED_IN_FILE.pattern)
        found = read_histories(paths, replace(tried, ignore=tuple(left_out)))
        if _needs_assets(found):
            return tried, found
    for name in [*left_out, *whole][:MOST_TRIED]:
        others = {each: why for each, why in left_out.items() if each != name}
        tried = replace(layout, asset_column=name, ignore=tuple(others))
        try:
            found = read_histories(paths, tried)
        except DataError:  # a cell of it is empty
            continue
        if len(found.assets) <= MOST_ASSETS and _needs_assets(found):
            left_out.pop(name, None)
            return tried, found
    return layout, history


def _assets_in_names(paths: Sequence[Path]) -> bool:
    """Whether files share names of what may be machines."""
    files = [file for path in paths for file in files_of(path)]
    matches = [NAMED_IN_FILE.search(file.name) for file in files]
    return all(matches) and 1 < len({match[0] for match in matches if match}) < len(files)


def _judge_sensors(found: Profile) -> None:
    history = found.history
    for place, name in enumerate(history.sensors):
        values = history.values[:, place]
        known = values[np.isfinite(values)]
        if not len(known) or known.min() == known.max():
            found.constant.append(name)
        elif len(known) == len(values) > 10 and (np.diff(known) > 0).all():
            found.left_out[name] = "increases in every row: a counter, or a time (time_column, time_unit_seconds)"
            found.counters.append(name)
        elif _like_a_label(name, known):
            share = float((known == known.max()).mean())
            found.label_candidates[name] = f"{len(np.unique(known))} values; the largest in {share:.2%} of the rows"
    for note in history.report.notes:
        match = re.match(r"column '(.*?)' looks like a label", note)
        if match:
            found.label_candidates[match[1]] = "0 and 1, under a usual name of a label"
    for name in found.label_candidates:
        found.left_out.setdefault(name, "may be the label; a label among the sensors would tell the answer")
    for name, reason in list(found.left_out.items()):
        if reason.startswith("holds text") and name.lower() in USUAL_LABELS:
            found.label_candidates[name] = "text under a usual name of a label"


def _like_a_label(name: str, known: NDArray[np.float64]) -> bool:
    """A usual name and few values, or two values and a word that is mostly one for a label."""
    values = len(np.unique(known))
    return (name.lower() in USUAL_LABELS and values <= MOST_LABELS) or (
        values <= 2 and bool(LIKE_A_LABEL.search(name.lower()))
    )


def _judge_times(found: Profile) -> None:
    report = found.history.report
    if found.layout.without_time:
        counter = f"; is {found.counters[0]!r} the time?" if found.counters else ""
        found.questions.append(f'no column is a time: rows are taken for samples (grid.kind = "table"){counter}')
    if found.asset_candidate:
        found.questions.append(
            f"does {found.asset_candidate!r} name the machine? The rows are in order without it (asset_column)"
        )
    unclear = [name for name, why in found.left_out.items() if why.startswith("holds thousands or")]
    if unclear:
        found.questions.append(
            f"numbers of {', '.join(map(repr, unclear[:3]))} may be thousands or decimals: say decimal and thousands"
        )
    times = [name for name, why in found.left_out.items() if why.startswith("holds times")]
    if times:
        found.questions.append(
            f"{', '.join(map(repr, times[:3]))} holds times too: is it when the sensors beside it were read? All "
            f"values are taken to be of the time in {found.layout.time_column!r}"
        )
    if found.in_names:
        found.questions.append(f"do the files' names tell the machine? asset_pattern = '{NAMED_IN_FILE.pattern}'")
    if report.steps_back:
        found.questions.append(
            f"{report.steps_back:,} rows are earlier than the row before them: was the clock changed there? Then name "
            "its zone; else sort the file"
        )
    if report.equal_times > len(found.history) / 2:
        found.questions.append(
            f"{report.equal_times:,} of {len(found.history):,} rows have the time of an earlier row: several machines "
            "in one file (name the column that tells them apart as asset_column), or a time column that has lost its "
            "clock?"
        )
    elif report.equal_times:
        found.questions.append(
            f"{report.equal_times:,} rows have the time of an earlier row, and one of them counts: "
            "which clock, or which machine, do they have?"
        )
    if not found.sensors:
        found.questions.append("no column is a sensor that moves")


def _judge_qualities(found: Profile) -> None:
    layout = found.layout
    if layout.quality_column and layout.good_quality != Layout().good_quality:
        found.questions.append(
            f"does {layout.good_quality[0]!r} in column {layout.quality_column!r} mark a good value? It is the most "
            "frequent, and values with another one are taken as missing (good_quality)"
        )
    if layout.form != "wide" or layout.quality_suffix:
        return
    names = [*found.history.sensors, *(name for name in found.left_out if name not in found.history.sensors)]
    for suffix, places in _beside(names):
        found.questions.append(
            f"does {names[places[0]]!r} say which values of the sensor beside it are good? Then say quality_suffix = "
            f"{suffix!r} and good_quality"
        )


def _judge_codes(found: Profile) -> None:
    """Loggers write a number such as -200 where they have no value; it lies farther out than all others are wide."""
    for name in found.sensors:
        values = found.history.values[:, found.history.sensors.index(name)]
        known = values[np.isfinite(values)]
        for edge in (float(known.min()), float(known.max())):
            others = known[known != edge]
            # People choose whole numbers for codes, but for the -999.25 of well logs; a measured extreme is seldom one.
            if not (edge.is_integer() or edge == WELL_LOG_CODE):
                continue
            if len(known) - len(others) < LEAST_CODES or len(np.unique(others)) < LEAST_VALUES:
                continue
            if np.abs(others - edge).min() > np.ptp(others):
                found.missing_codes.setdefault(edge, []).append(name)
    for code, names in found.missing_codes.items():
        found.questions.append(
            f"does {code:g} stand for a missing value? It lies far outside of the others in {', '.join(names[:3])}"
            f"{f' and {len(names) - 3} more' if len(names) > 3 else ''} (missing_codes)"
        )
