"""A real Chromium for the tests, driven by playwright; it never talks to anything but the page under test."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path() -> str | None:
    """Where a Chromium is: $CHROMIUM, or on PATH."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def why_no_browser() -> str | None:
    """Reason to skip, or None."""
    if chromium_path() is None:
        return "no `chromium` on PATH (Debian: chromium), and $CHROMIUM names none"
    return None


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser (playwright's sync API)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
