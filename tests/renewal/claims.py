"""What is claimed of a renewal, and whether it held."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.marked_page import enter
from tests.support.paths import DOCS

PAGE = DOCS / "studies" / "renewal.md"


@dataclass
class Claims:
    """`held`: (claim, whether it held, what was found)."""

    held: list[tuple[str, bool, str]] = field(default_factory=list)

    def add(self, claim: str, holds: bool, found: str) -> None:
        """Notes it, and says it."""
        self.held.append((claim, holds, found))
        print(f"    {'holds' if holds else 'DOES NOT HOLD'}: {claim} ({found})", flush=True)

    @property
    def all_hold(self) -> bool:
        return all(holds for _, holds, _ in self.held)

    def table(self) -> str:
        """Markdown."""
        rows = [f"| {claim} | {found} | {'yes' if holds else '**no**'} |" for claim, holds, found in self.held]
        return "\n".join(["| claim | found | holds |", "|---|---|---|", *rows])

    def conclude(self, said: str, marks: tuple[str, str], *, write: bool) -> int:
        """Print the table and what is `said` below it, enter both between the marks of the page where wanted; the exit
        code."""
        print(f"\n{self.table()}\n\n{said}")
        if write:
            enter(PAGE, *marks, f"{self.table()}\n\n{said}")
        return 0 if self.all_hold else 1


@contextmanager
def scratch_folder(prefix: str, keep: Path | None) -> Iterator[Path]:
    """A folder that is gone afterwards; `keep`: a copy of it stays there."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
