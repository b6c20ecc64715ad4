"""When a machine runs, from its sensors: `speed > 200 and state == 1`, read by a small grammar and never run as code.

A comparison with a missing value is neither true nor false (Kleene 1938, "On notation for ordinal numbers"), and where
the rest does not decide, nothing is known of the step.
"""

import ast
import difflib
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DEEPEST = 100
"""Levels of nesting: whoever evaluates a condition may stand deep in the stack already."""

ALLOWED = "comparisons (< <= > >= == !=) of sensors and numbers, joined by and, or, not and parentheses"

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class Truth(Struct, frozen=True):
    """What is known of N steps: `true` and `false` (N,) are never both set; neither: it cannot be told."""

    true: Bools
    false: Bools


class Condition:
    """A condition over sensors.

    Attributes:
        text: as it was written.
        sensors: those that it names, in the order of their first mention.
    """

    def __init__(self, text: str) -> None:
        """Read the text; a sensor whose name is no identifier stands in quotes: `"PM3.SPEED-PV" > 200`.

        Raises ValueError that shows what is wrong.
        """
        self.text = text
        names: dict[str, None] = {}
        self._root = _parsed(text)
        if _depth(self._root) > DEEPEST:
            raise ValueError(f"{text[:60]!r}... nests deeper than {DEEPEST} levels; write it more simply")
        _check(self._root, text, names)
        self.sensors = tuple(names)
        if not names:
            raise ValueError(f"{text!r} names no sensor; wanted {ALLOWED}")

    def known(self, values: Floats) -> Truth:
        """values: (N, S) of `sensors`, NaN = missing."""
        return _truth(self._root, dict(zip(self.sensors, values.T, strict=True)), len(values))


class OperatingRule(Struct, frozen=True, eq=False):
    """Rule 10 for one detector: the condition on the columns that it reads.

    `columns`: (S,) of the detector's sensors. `hold_steps`: of start-up, after the last step in which it stood.
    """

    condition: Condition
    columns: NDArray[np.int64]
    hold_steps: int

    @classmethod
    def of(cls, condition: Condition, hold_steps: int, sensors: Sequence[str]) -> "OperatingRule":
        """The rule for a detector of these sensors; ValueError where the condition names another one."""
        for name in condition.sensors:
            if name not in sensors:
                close = difflib.get_close_matches(name, sensors, n=1)
                hint = f"; is it {close[0]!r}?" if close else ""
                raise ValueError(
                    f"operating.when names the sensor {name!r}, which is none of the {len(sensors)} sensors{hint}"
                )
        return cls(condition, np.array([sensors.index(name) for name in condition.sensors], np.int64), hold_steps)

    def known(self, values: Floats) -> Truth:
        """Whether the machine runs. values: (N, S) of `columns`, NaN = missing."""
        return self.condition.known(values)


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = getattr(error, "offset", None)
        near = f" near {text.strip()[where - 1 :][:20]!r}" if where and where <= len(text.strip()) else ""
        raise ValueError(f"{text!r} cannot be read{near}; wanted {ALLOWED}") from None


def _depth(root: ast.AST) -> int:
    """Levels of nesting, without recursion."""
    level, depth = [root], 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    return depth


def _check(node: ast.expr, text: str, names: dict[str, None]) -> None:
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                _check(part, text, names)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _check(part, text, names)
        case ast.Compare(left=left, ops=ops, comparators=others):
            for op in ops:
                if type(op) not in COMPARISONS:
                    raise ValueError(f"{_shown(node, text)!r} compares in a way that is not known; wanted {ALLOWED}")
            for side in (left, *others):
                _check_side(side, text, names)
        case _:
            found = _name(node)
            wanted = f"; compare it with a number, as in {found} > 0" if found is not None else f"; wanted {ALLOWED}"
            raise ValueError(f"{_shown(node, text)!r} is not a comparison{wanted}")


def _check_side(node: ast.expr, text: str, names: dict[str, None]) -> None:
    name = _name(node)
    if name is not None:
        names[name] = None
    elif _number(node) is None:
        raise ValueError(f"{_shown(node, text)!r} is neither a sensor nor a number; wanted {ALLOWED}")


def _name(node: ast.expr) -> str | None:
    """The sensor that it names: a plain name, names joined by dots, or a text in quotes."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=str(name)):
            return name
        case ast.Attribute(value=ast.Name() | ast.Attribute() as owner, attr=last):
            return f"{_name(owner)}.{last}"
    return None


def _number(node: ast.expr) -> float | None:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=part):
            number = _number(part)
            return None if number is None else -number
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as number):
            try:
                return float(number) if math.isfinite(number) else None
            except OverflowError:
                return None
    return None


def _shown(node: ast.expr, text: str) -> str:
    return ast.get_source_segment(text.strip(), node) or text


def _truth(node: ast.expr, values: dict[str, Floats], count: int) -> Truth:
    match node:
        case ast.BoolOp(op=op, values=parts):
            each = [_truth(part, values, count) for part in parts]
            all_true, any_true = _all_and_any([truth.true for truth in each])
            all_false, any_false = _all_and_any([truth.false for truth in each])
            return Truth(all_true, any_false) if isinstance(op, ast.And) else Truth(any_true, all_false)
        case ast.UnaryOp(operand=part):
            truth = _truth(part, values, count)
            return Truth(truth.false, truth.true)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_side(side, values, count) for side in (left, *others)]
            true, false = np.ones(count, np.bool_), np.zeros(count, np.bool_)
            for comparison, before, after in zip(ops, sides, sides[1:], strict=False):
                known = ~(np.isnan(before) | np.isnan(after))
                holds = COMPARISONS[type(comparison)](before, after)
                true &= known & holds
                false |= known & ~holds
            return Truth(true, false)
    raise AssertionError(f"{type(node).__name__} is not checked for")


def _all_and_any(parts: list[Bools]) -> tuple[Bools, Bools]:
    return np.asarray(np.logical_and.reduce(parts)), np.asarray(np.logical_or.reduce(parts))


def _side(node: ast.expr, values: dict[str, Floats], count: int) -> Floats:
    name = _name(node)
    return np.full(count, _number(node), np.float64) if name is None else values[name]
