"""Times as a file writes them, to epoch seconds."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian.layout import Layout
from stream_detector.historian.report import ReadReport
from stream_detector.messages import MILLISECONDS_FROM

MICROSECONDS_FROM, NANOSECONDS_FROM = 1e14, 1e17
EXCEL = "excel"
EXCEL_EPOCH = datetime(1899, 12, 30, tzinfo=UTC).timestamp()
EXCEL_YEARS = (18_264.0, 73_051.0)
"""Days from 1950 to 2100."""

DATES = (
    "%m/%d/%y", "%d/%m/%y", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d.%m.%y", "%d-%m-%Y", "%Y/%m/%d", "%Y.%m.%d",
    "%Y%m%d", "%d-%b-%y", "%d-%b-%Y",
)  # fmt: skip
CLOCKS = (
    " %H:%M:%S",
    " %H:%M:%S.%f",
    " %H:%M",
    " %H",
    " %I:%M:%S %p",
    " %I:%M %p",
    " %H.%M.%S",
    " %H.%M",
    ".%H.%M.%S",
    "",
)

ISO = re.compile(r"^\d{4}-\d\d-\d\d")
ISO_LOCAL = re.compile(r"^\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?$")
"""ISO 8601 without a zone, as numpy reads it at once."""

DAYS = re.compile(r"(?:%[dmyYb]|[-/.])+")
CLOCK = re.compile(r"(?:%[HMSfIp]|[:. ])+")
EPOCH, MIDNIGHT = datetime(1970, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)
"""A time of day without a date is on that day."""

ZONES = {
    "UTC": 0.0, "GMT": 0.0, "Z": 0.0, "WET": 0.0, "WEST": 1.0, "BST": 1.0, "CET": 1.0, "CEST": 2.0, "MEZ": 1.0,
    "MESZ": 2.0, "EET": 2.0, "EEST": 3.0, "MSK": 3.0, "KST": 9.0, "JST": 9.0, "EST": -5.0, "EDT": -4.0, "CDT": -5.0,
    "MST": -7.0, "MDT": -6.0, "PST": -8.0, "PDT": -7.0,
}  # fmt: skip
"""Hours east of UTC of names that mean one zone only."""

MONTHS = {
    "jän": "Jan", "ene": "Jan", "janv": "Jan", "gen": "Jan", "févr": "Feb", "fév": "Feb", "fev": "Feb", "mär": "Mar",
    "mrz": "Mar", "mars": "Mar", "abr": "Apr", "avr": "Apr", "avril": "Apr", "mai": "May", "mag": "May", "juin": "Jun",
    "giu": "Jun", "juil": "Jul", "lug": "Jul", "ago": "Aug", "août": "Aug", "set": "Sep", "sept": "Sep", "okt": "Oct",
    "ott": "Oct", "out": "Oct", "dez": "Dec", "dic": "Dec", "déc": "Dec",
}  # fmt: skip
"""Short names of months in German, French, Spanish, Italian and Portuguese, as strptime knows them."""
MONTH = re.compile(r"(?<=[-/. ])[^\W\d_]{3,5}\.?(?=[-/. ])")

COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Dates without marks, by their digits. One that is taken for a number lies in 1970, or in years to come."""
COMPACT_YEARS = (1950, 2100)

NUMBER_WITH_COMMA = re.compile(r"^\d+,\d+$")
NUMBER = re.compile(r"^[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?$")

Floats = NDArray[np.float64]


def seconds_of_texts(path: Path, column: str, texts: Sequence[str], layout: Layout, report: ReadReport) -> Floats:
    """(N,) epoch seconds.

    Raises:
        DataError: a time is empty, is none, or has another format than the others; several formats fit.
    """
    texts = [text.strip() for text in texts]
    _none_empty(path, column, texts)
    if all(map(NUMBER_WITH_COMMA.match, texts)):
        texts = [text.replace(",", ".") for text in texts]
    if layout.time_format not in (None, EXCEL):
        return _local(column, _of_format(path, column, texts, str(layout.time_format)), layout, report)
    if all(map(NUMBER.match, texts)):
        return seconds_of_numbers(path, column, np.array(texts, np.float64), layout, report)
    offsets = _named_offsets(texts)
    if offsets is not None:
        texts = [text.rpartition(" ")[0] for text in texts]
        layout = replace(layout, zone=None)
        report.found_out.append(f"times in {column!r} name their zone")
    if ISO.match(texts[0]):
        found = _of_iso(path, column, texts, layout, report)
        return found if offsets is None else found - offsets
    found = _guessed(path, column, texts, report)
    return _local(column, found, layout, report) if offsets is None else found - offsets


def _named_offsets(texts: Sequence[str]) -> Floats | None:
    """(N,) seconds east of UTC, where every time ends in the usual name of a zone."""
    hours = np.empty(len(texts))
    for row, text in enumerate(texts):
        offset = ZONES.get(text.rpartition(" ")[2].upper())
        if offset is None:
            return None
        hours[row] = offset
    return hours * 3600.0


def seconds_of_numbers(path: Path, column: str, numbers: Floats, layout: Layout, report: ReadReport) -> Floats:
    """(N,) epoch seconds of numbers: seconds, or finer units by their size."""
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        raise DataError(
            f"{path}: column {column!r} has no time in data row {int(np.argmax(wrong)) + 1}; every row needs one"
        )
    if layout.time_format == EXCEL:
        return np.round((EXCEL_EPOCH + numbers * 86_400.0) * 1000.0) / 1000.0
    if layout.time_unit_seconds != 1.0:
        return numbers * layout.time_unit_seconds
    compact = _of_compact_dates(column, numbers, report)
    if compact is not None:
        return _local(column, compact, layout, report)
    size = np.abs(numbers).max(initial=0.0)
    if size >= NANOSECONDS_FROM:
        report.found_out.append(f"times in {column!r} are nanoseconds")
        return numbers / 1e9
    if size >= MICROSECONDS_FROM:
        report.found_out.append(f"times in {column!r} are microseconds")
        return numbers / 1e6
    fractions = bool((numbers != np.floor(numbers)).any())
    if fractions and EXCEL_YEARS[0] <= numbers.min() and numbers.max() < EXCEL_YEARS[1]:
        raise DataError(
            f"{path}: times such as {numbers[0]:g} in column {column!r} look like Excel's days since 1899-12-30; say "
            f'time_format = "{EXCEL}", or time_unit_seconds if they count something else'
        )
    return np.where(np.abs(numbers) >= MILLISECONDS_FROM, numbers / 1000.0, numbers)


def _of_compact_dates(column: str, numbers: Floats, report: ReadReport) -> Floats | None:
    """Seconds as if they were UTC of numbers that are dates written without marks; None where one of them is none."""
    digits = len(f"{abs(numbers[0]):.0f}") if len(numbers) else 0
    time_format = COMPACT.get(digits)
    if time_format is None or (numbers != np.floor(numbers)).any():
        return None
    years = numbers // 10 ** (digits - 4)
    if years.min() < COMPACT_YEARS[0] or years.max() > COMPACT_YEARS[1]:
        return None
    seconds, wrong = _parsed([f"{number:.0f}" for number in numbers], time_format)
    if wrong:
        return None
    report.found_out.append(f"times in {column!r} have the format {time_format}")
    return seconds


def seconds_of_datetimes(
    path: Path, column: str, moments: NDArray[np.datetime64], layout: Layout, report: ReadReport
) -> Floats:
    """(N,) epoch seconds of a column of real times without a zone."""
    if np.isnat(moments).any():
        row = int(np.argmax(np.isnat(moments)))
        raise DataError(f"{path}: column {column!r} has no time in data row {row + 1}; every row needs one")
    local = moments.astype("datetime64[us]").astype(np.int64) / 1e6
    return _local(column, local, layout, report)


def _none_empty(path: Path, column: str, texts: Sequence[str]) -> None:
    if "" in texts:
        raise DataError(f"{path}: column {column!r} has no time in data row {texts.index('') + 1}; every row needs one")


def _of_iso(path: Path, column: str, texts: list[str], layout: Layout, report: ReadReport) -> Floats:
    if all(map(ISO_LOCAL.match, texts)):
        try:
            local = np.array(texts, "datetime64[us]").astype(np.int64) / 1e6
        except ValueError:
            local = None
        if local is not None:
            return _local(column, local, layout, report)
    seconds = np.empty(len(texts))
    naive = np.zeros(len(texts), np.bool_)
    for row, text in enumerate(texts):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise DataError(
                f"{path}: {text!r} in column {column!r}, data row {row + 1}, is no time"
                + (f", though {texts[0]!r} in the first row is; mend the row" if row else "; name the format with ")
                + ("" if row else "--time-format, e.g. '%Y-%m-%d %H:%M'")
            ) from None
        naive[row] = moment.tzinfo is None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        seconds[row] = (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    if naive.all():
        return _local(column, seconds, layout, report)
    if naive.any():
        row = int(np.argmax(naive))
        raise DataError(
            f"{path}: {texts[row]!r} in column {column!r}, data row {row + 1}, has no zone, others have one"
        )
    return seconds


def _of_format(path: Path, column: str, texts: list[str], time_format: str) -> Floats:
    seconds, wrong = _parsed(texts, time_format)
    if wrong:
        raise DataError(
            f"{path}: time {texts[wrong[0]]!r} in data row {wrong[0] + 1} of column {column!r} does not have the "
            f"format {time_format!r} ({len(wrong)} of {len(texts)} rows do not)"
        )
    return seconds


def _parsed(texts: Sequence[str], time_format: str) -> tuple[Floats, list[int]]:
    """Seconds as if they were UTC, and the rows that do not have the format."""
    date_format, _, clock_format = time_format.partition(" ")
    if DAYS.fullmatch(date_format) and CLOCK.fullmatch(clock_format):
        # There are few days and few times of day, so that hardly any text has to be parsed.
        days, clocks = _Moments(date_format), _Moments(clock_format, MIDNIGHT)
        parts = [text.partition(" ") for text in texts]
        found = [(days[day], clocks[clock.lstrip()]) for day, _, clock in parts]
        seconds = np.array([day + clock for day, clock in found])
    else:
        moments = _Moments(time_format)
        seconds = np.array([moments[text] for text in texts])
    return np.nan_to_num(seconds), np.flatnonzero(np.isnan(seconds)).tolist()


class _Moments(dict[str, float]):
    """Seconds since a moment of texts in one format, as if they were UTC; NaN where one has another. Remembered."""

    def __init__(self, time_format: str, since: datetime = EPOCH) -> None:
        super().__init__()
        self._format, self._since = time_format, since

    def __missing__(self, text: str) -> float:
        try:
            moment = datetime.strptime(text, self._format)  # noqa: DTZ007 - the zone comes afterwards
        except ValueError:
            self[text] = np.nan
            return np.nan
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        self[text] = found = (moment - self._since).total_seconds()
        return found


def _guessed(path: Path, column: str, texts: list[str], report: ReadReport) -> Floats:
    """The only usual format that fits every row; of several the one that keeps the rows in order."""
    if MONTH.search(texts[0]):
        texts = [MONTH.sub(lambda found: MONTHS.get(found[0].lower().rstrip("."), found[0]), text) for text in texts]
    sample = texts[:: max(1, len(texts) // 200)]
    fit = {form: len(sample) - len(_parsed(sample, form)[1]) for form in (d + c for d in DATES for c in CLOCKS)}
    best = max(fit.values())
    advice = "name the format with --time-format, e.g. '%d.%m.%Y %H:%M'"
    if not best:
        raise DataError(
            f"{path}: times such as {texts[0]!r} in column {column!r} are neither ISO 8601 nor epoch seconds nor in "
            f"one usual format throughout; {advice}"
        )
    found = {form: _parsed(texts, form) for form, count in fit.items() if count == best}
    fitting = {form: seconds for form, (seconds, wrong) in found.items() if not wrong}
    if not fitting:
        form, (_, wrong) = min(found.items(), key=lambda item: len(item[1][1]))
        raise DataError(
            f"{path}: {texts[wrong[0]]!r} in column {column!r}, data row {wrong[0] + 1}, does not have the format "
            f"{form!r} of the other times ({len(wrong)} of {len(texts)} rows do not); mend the rows, or {advice}"
        )
    if len(fitting) > 1:
        fitting = {form: each for form, each in fitting.items() if (np.diff(each) >= 0).all()} or fitting
    if len(fitting) > 1 and len({each.tobytes() for each in fitting.values()}) > 1:
        raise DataError(
            f"{path}: times such as {texts[0]!r} in column {column!r} could be {' or '.join(map(repr, fitting))}; "
            "say which with --time-format"
        )
    form, seconds = next(iter(fitting.items()))
    report.found_out.append(f"times in {column!r} have the format {form}")
    return seconds


def _local(column: str, seconds: Floats, layout: Layout, report: ReadReport) -> Floats:
    """Seconds of the file's own clock to epoch seconds."""
    if layout.zone is None:
        return seconds
    try:
        zone = ZoneInfo(layout.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DataError(
            f"zone = {layout.zone!r} is no zone that is known here, such as Europe/Berlin: {error}"
        ) from error
    if len(seconds) > 1 and (np.diff(seconds) <= 0).all():  # the newest row stands first
        return _local(column, seconds[::-1], layout, report)[::-1]
    found, doubled, absent, previous = np.empty(len(seconds)), 0, 0, -np.inf
    for row, local in enumerate(seconds.tolist()):
        moment = datetime.fromtimestamp(local, UTC).replace(tzinfo=zone)
        first = local - _offset(moment)
        second = local - _offset(moment.replace(fold=1))
        if second > first:  # the hour comes twice; the file's order says which
            doubled += 1
            first = second if first < previous else first
        elif second < first:  # the hour that the clock left out
            absent += 1
        found[row] = previous = first
    if absent:
        report.notes.append(f"{absent:,} times in {column!r} lie in an hour that the clock of {layout.zone} left out")
    if doubled and (np.diff(found) == 0).any():
        report.notes.append(
            f"{doubled:,} times in {column!r} lie in an hour that the clock of {layout.zone} showed twice, and their "
            "order does not tell which: rows of both hours have the same time"
        )
    return found


def _offset(moment: datetime) -> float:
    offset = moment.utcoffset()
    assert offset is not None
    return offset.total_seconds()
