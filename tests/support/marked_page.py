"""Pages of the documentation that a run fills itself, between two marks."""

from pathlib import Path


def enter(page: Path, begin: str, end: str, text: str) -> None:
    """Put the text into the page, between its marks."""
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")
