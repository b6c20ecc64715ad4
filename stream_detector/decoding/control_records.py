"""Control records: what the operators of a group have decided, at its place among the readings.

A control record has the key `KEY` and a value with a digest of itself. What a plant writes by accident has neither, so
it is never taken for one; and a control record is never taken for a reading, whoever reads the topic. With the key and
without the digest it is a reading like any other, and so a dead letter.

    {"control": "switch", "group": "stream-detector", "bundle": "3f9a...", "written_at": "...", "who": "...",
     "why": "...", "check": "first 16 hex digits of a sha256 over the rest, keys sorted"}

`announce` asks the workers of the group to have the bundle ready; from a `switch` on it decides, in that partition,
unless a `withdraw` of that bundle follows before another switch: then nobody who has not obeyed it does.

Where a group decides by a table of bundles, records speak of one of its lines, and have a glob `assets` too: from a
`switch-line` on the line with this glob names the bundle, also where there was no such line; from a `drop-line` on
there is none. `withdraw-line` takes a `switch-line` back. Versions that knew no such records pass them over.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import asdict

KEY = b"stream-detector/control"
ANNOUNCE, SWITCH, WITHDRAW = "announce", "switch", "withdraw"
SWITCH_LINE, DROP_LINE, WITHDRAW_LINE = "switch-line", "drop-line", "withdraw-line"
OBEYED = (SWITCH, SWITCH_LINE, DROP_LINE)

DIGITS = 16
BUNDLE = re.compile(r"[0-9a-f]{16}")


class Order(Struct, frozen=True):
    """What a control record says. Another `control` than those above is of a later version, and changes nothing.

    `bundle`: that decides from here on, or (`drop-line`) did until here. `assets`: glob of the line that it speaks of.
    """

    control: str
    group: str
    bundle: str
    written_at: str = ""
    who: str = ""
    why: str = ""
    assets: str = ""

    @property
    def of_line(self) -> bool:
        """Whether it speaks of a line of a table, rather than of all assets of the group."""
        return bool(self.assets)


def to_value(order: Order) -> bytes:
    """The value of a record with the key `KEY`.

    >>> order = Order("switch", "stream-detector", "0123456789abcdef")
    >>> read_order(KEY, to_value(order)) == order, read_order(b"m1", to_value(order))
    (True, None)
    """
    body = {name: value for name, value in asdict(order).items() if value or name != "assets"}
    return orjson.dumps({**body, "check": _digest(body)})


def read_order(key: bytes | None, value: bytes | None) -> Order | None:
    """What the record says; None where it is no control record."""
    if key != KEY:
        return None
    try:
        body = orjson.loads(value or b"")
        check = body.pop("check")
        order = Order(**{name: body.get(name, "") for name in Order.__struct_fields__})
        whole = check == _digest(body) and all(isinstance(each, str) for each in asdict(order).values())
        of_line = order.control in (SWITCH_LINE, DROP_LINE, WITHDRAW_LINE)
        return order if whole and BUNDLE.fullmatch(order.bundle) and (order.assets or not of_line) else None
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None


def orders_in(keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> dict[int, Order]:
    """{place: order} of the control records among these."""
    if KEY not in keys:
        return {}
    found = {place: read_order(key, values[place]) for place, key in enumerate(keys) if key == KEY}
    return {place: order for place, order in found.items() if order is not None}


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:DIGITS]
