"""How a file is to be read: a recipe's data section as the reader takes it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

Form = Literal["wide", "grafana", "long", "influx"]

TIME_NAMES = ("time", "timestamp", "datetime", "date")
"""Time columns to look for when none is named, in this order, upper or lower case."""

LABEL_NAMES = ("y", "label", "event", "anomaly", "att_flag")
"""Label columns to look for when none is named, in this order, upper or lower case."""

MISSING_WORDS = frozenset(
    (
        "", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "-", "--", "?", "undefined", "missing", "invalid",
        "no data", "nodata", "no value", "no result", "no sample", "bad", "bad input", "bad output", "bad data",
        "inp outrange", "input outrange", "out of range", "outrange", "over range", "under range", "scan timeout",
        "scan off", "scan failed", "i/o timeout", "timeout", "pt created", "shutdown", "configure", "comm fail",
        "comm error", "not connect", "not connected", "disconnected", "calc failed", "calc overflow", "calc error",
        "failed", "error", "out of serv", "out of service", "manual", "substituted", "intf shut", "arc off-line",
        "arc offline", "offline", "access denied", "equip fail", "#value!", "#ref!", "#num!", "#div/0!",
        "(null)", "<null>", "[no data]", "no good data", "no good data for calculation", "no snapshot", "not available",
        "unavailable", "resize to show all values", "comm failure", "comms fail", "device failure", "sensor failure",
        "unit down", "stale", "overload", "ol", "ioerr", "----", "*", "**", "***", "****", "*****",
    )
)  # fmt: skip
"""Words that historians write in place of a value, in lower case. Each is counted by sensor and told."""


@dataclass(frozen=True)
class Layout:
    """How to read a file; None = find out.

    Attributes:
        form: wide = one column a sensor; grafana = the same as a panel's CSV download writes it, with units behind the
            numbers; long = one row a value, with a column of tags; influx = InfluxDB's annotated CSV, long too.
        time_column: its name; several names = date and time in columns of their own; "" = rows without a time.
        time_format: as of strptime, or "excel" = days since 1899-12-30. None: numbers are epoch seconds (milliseconds,
            microseconds or nanoseconds by their size), text is ISO 8601 or the only usual format that fits every row.
        time_unit_seconds: numbers in the time column count these.
        zone: IANA name of the zone of times that name none; None = UTC.
        label_optional: a file without the label column has no labels; it is no error.
        find_label: take a column with a usual name for the label where none is named; False: leave it out and say so.
        label_values: the values that mark a row; None = whatever is above 0 or true.
        labels_are_normal: the values mark the normal rows instead.
        sensors: these columns in this order; None = every column that has no other role.
        ignore: columns to leave out.
        missing_codes: numbers that stand for a missing value. missing_words: texts that do, beside MISSING_WORDS.
        header: False: the columns are called c1, c2, ...
        skip_rows: lines above the header. unit_rows: lines under it that hold units or descriptions.
        decimal, thousands: marks within numbers. encoding: of the text.
        run_columns: a change in one of these starts another run.
        file_runs: each of several files is a run of its own, whose times may start again.
        asset_column: names the asset of each row; its readings are apart from those of others. asset_pattern: a regular
            expression that finds the asset in a file's path below the folder that is read. Without either, folders
            within a folder are assets, unless days name them.
        sheet: of an Excel file; None = the one with the most rows.
        quality_suffix: a column called as another one with this behind it holds the quality of that one's values.
        tag_column, value_column, quality_column: of the long form. good_quality: what marks a value that may be used.
    """

    form: Form = "wide"
    time_column: str | tuple[str, ...] | None = None
    time_format: str | None = None
    time_unit_seconds: float = 1.0
    zone: str | None = None
    label_column: str | None = None
    label_optional: bool = False
    find_label: bool = True
    label_values: tuple[float | str, ...] | None = None
    labels_are_normal: bool = False
    sensors: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    missing_codes: tuple[float, ...] = ()
    missing_words: tuple[str, ...] = ()
    separator: str | None = None
    header: bool = True
    skip_rows: int = 0
    unit_rows: int = 0
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    run_columns: tuple[str, ...] = ()
    file_runs: bool = False
    asset_column: str | None = None
    asset_pattern: str | None = None
    sheet: str | None = None
    quality_suffix: str | None = None
    tag_column: str = "tag"
    value_column: str = "value"
    quality_column: str | None = None
    good_quality: tuple[str, ...] = ("good", "192", "0xc0", "true")

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The named time columns; none where there is nothing to find, or all is to be found out."""
        if not self.time_column:
            return ()
        return (self.time_column,) if isinstance(self.time_column, str) else self.time_column

    @property
    def without_time(self) -> bool:
        """True if rows are samples without a time."""
        return self.time_column == ""

    @classmethod
    def of_recipe(cls, data: Mapping[str, Any]) -> "Layout":
        """The layout that a recipe's data section asks for, with its defaults or as it was written."""
        given = {field.name: data[field.name] for field in fields(cls) if data.get(field.name) is not None}
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        given["sensors"] = tuple(data["sensors"]) if data.get("sensors") else None
        given["ignore"] = tuple(data.get("drop_columns", ()))
        given["labels_are_normal"] = data.get("labels_are") == "normal"
        given.setdefault("label_values", (1.0,))
        # The recipe's default is "time"; a recipe that says that rows have no time has nothing there.
        given["time_column"] = given.get("time_column", "time" if "time_column" not in data else "")
        return cls(**given)
