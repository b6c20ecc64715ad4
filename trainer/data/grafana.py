"""Reads what Grafana's "Download CSV" gives for a panel in its "series to columns" (joined by time) form.

Such a file comes with what the panel shows: a byte-order mark, a first line `sep=,` for Excel, units after the
numbers, thousands separators, empty cells or "undefined" where a series has no value at that time, and names in any
language; files that went through a Korean Excel are in code page 949.
"""

import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from stream_detector.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

ENCODINGS = ("utf-8-sig", "cp949")
MISSING = ("", "undefined", "null", "nan", "-", "no data", "n/a")
NUMBER_AND_UNIT = re.compile(r"^\s*([-+]?(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")


def read_grafana(path: Path, time_column: str) -> "pd.DataFrame":
    """The file as a table of numbers: `time_column` as it stands, every other column float64 (NaN = missing).

    The first column is taken for the time column whatever it is called ("Time" is translated). Columns without any
    number (a legend, a status) are dropped. Raises DataError where a cell cannot be understood.
    """
    import pandas as pd

    text = _text(path)
    first, _, rest = text.partition("\n")
    separator = ","
    if first.strip().strip('"').lower().startswith("sep="):
        separator, text = first.strip().strip('"')[4:5], rest
    elif ";" in first and "," not in first:
        separator = ";"
    try:
        table = pd.read_csv(StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} cannot be read as CSV: {str(error).strip().splitlines()[0]}") from error
    if table.shape[1] < 2:
        raise DataError(
            f"{path} has {table.shape[1]} column; a panel's series joined by time has a time and one a series"
        )
    table.columns = [time_column, *(str(name).strip() for name in table.columns[1:])]
    columns = {time_column: _times(table[time_column])}
    for position, name in enumerate(table.columns[1:], start=1):
        numbers = _numbers(path, str(name), table.iloc[:, position])
        if numbers is not None:
            columns[str(name)] = numbers
    return pd.DataFrame(columns)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix == ".gz":
        import gzip

        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise DataError(f"{path} is not gzip: {error}") from error
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} is neither UTF-8 nor code page 949; save it as UTF-8")


def _times(column: "pd.Series") -> "pd.Series":
    """Epoch numbers as numbers, anything else as it stands."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    return column.str.strip() if numbers.isna().any() else numbers


def _numbers(path: Path, name: str, column: "pd.Series") -> "pd.Series | None":
    """The column's numbers; None where it has none. One unit throughout, or the scale would change from row to row."""
    import pandas as pd

    cells = column.str.strip()
    missing = cells.str.lower().isin(MISSING)
    parts = cells.where(~missing).str.extract(NUMBER_AND_UNIT)
    numbers = pd.to_numeric(parts[0].str.replace(",", "", regex=False), errors="coerce").astype("float64")
    if numbers.notna().sum() == 0:
        return None
    wrong = (numbers.isna() & ~missing).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}: column {name!r}, data row {row + 1}: {cells.iloc[row]!r} is no number")
    units = sorted(set(parts[1][~missing].fillna("")) - {""})
    if len(units) > 1:
        raise DataError(
            f"{path}: column {name!r} mixes the units {', '.join(map(repr, units[:4]))}; "
            "download it again with 'Formatted data' switched off"
        )
    return numbers
