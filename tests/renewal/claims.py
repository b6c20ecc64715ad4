"""What is claimed of a renewal, and whether it held."""

from dataclasses import dataclass, field


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
