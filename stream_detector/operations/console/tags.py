"""The plant's own list of what its sensors and assets are: a CSV file, columns name, description, unit, area."""

import csv
from pathlib import Path

from stream_detector.errors import UsageError
from stream_detector.operations.console.views import Tag

COLUMNS = ("description", "unit", "area")
MOST_TAGS = 50_000
MOST_CHARACTERS = 200


def read_tags(file: Path) -> dict[str, Tag]:
    """{name: what it is}; columns may be missing, and stand in any order.

    Raises:
        UsageError: the file cannot be read, or has no column `name`.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            names = [name.strip().lower() for name in rows.fieldnames or ()]
            if "name" not in names:
                found = ", ".join(names) or "nothing"
                raise UsageError(
                    f"{file}: the first line names the columns {found}; name, description, unit, area are wanted"
                )
            rows.fieldnames = names
            tags = {}
            for row in rows:
                name = (row["name"] or "").strip()
                if name:
                    tags[name] = Tag(
                        **{column: (row.get(column) or "").strip()[:MOST_CHARACTERS] for column in COLUMNS}
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read as a list of tags: {error}") from None
    if len(tags) > MOST_TAGS:
        raise UsageError(
            f"{file} holds {len(tags)} names, {MOST_TAGS} at most are taken; leave out what is not monitored"
        )
    return tags
