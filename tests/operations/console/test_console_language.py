"""Every text of the console's page has a Korean one, by the sources of the page."""

import re
from importlib import resources

STATIC = resources.files("stream_detector.operations.console") / "static"
SOURCES = {file.name: file.read_text(encoding="utf-8") for file in STATIC.iterdir() if file.name != "korean.js"}
ENTRY = re.compile(r'^  (?:"((?:[^"\\]|\\.)*)"|(\w+)): "(.*)",$', re.MULTILINE)
TRANSLATED = {
    key or word: text for key, word, text in ENTRY.findall((STATIC / "korean.js").read_text(encoding="utf-8"))
}


def keys() -> set[str]:
    """The sentences that the page looks up."""
    found: set[str] = set()
    for name, source in SOURCES.items():
        if name.endswith(".js"):
            for call in re.findall(r"\bt\(((?:[^()]|\([^()]*\))*)", source):
                found |= set(re.findall(r'"((?:[^"\\]|\\.)*)"', call.split(", {")[0]))
        found |= set(re.findall(r'data-t(?:-label|-placeholder)?="([^"]*)"', source))
    return {key for key in found if re.search(r"[a-zA-Z]{3}", key) and key not in NO_TEXTS}


NO_TEXTS = {"raised", "the token is wrong"}
"""Compared with, and not shown."""


def test_every_text_of_the_page_is_there_in_korean() -> None:
    assert len(TRANSLATED) > 150
    assert keys() - set(TRANSLATED) == set()


def test_a_translation_puts_the_same_values_in() -> None:
    for english, korean in TRANSLATED.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", korean)), english
