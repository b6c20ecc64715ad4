"""axe-core, the checker of accessibility rules: `npm pack axe-core` unpacked into .axe, or the file that $AXE names."""

import os
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

RULES = (
    "async () => (await axe.run()).violations.map((one) => [one.id, one.nodes.map((node) => node.target.join(' '))])"
)


def axe_path() -> Path | None:
    """Where `axe.min.js` is, or None."""
    found = Path(os.environ.get("AXE", ROOT / ".axe" / "package" / "axe.min.js"))
    return found if found.is_file() else None


def violations(page: Any) -> list[Any]:
    """Rule and places of everything on the page that breaks a rule; its context must bypass the CSP."""
    found = axe_path()
    assert found is not None
    page.evaluate(found.read_text(encoding="utf-8"))
    broken: list[Any] = page.evaluate(RULES)
    return broken
