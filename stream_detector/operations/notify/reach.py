"""Whether receivers can be reached, without telling them anything."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from stream_detector.operations.notify.forwarder_settings import ForwarderSettings, split

SECONDS = 5.0


def receivers_that_answer(settings: ForwarderSettings) -> Iterator[tuple[str, str | None]]:
    """(receiver, why not) of each receiver in the settings; a webhook's path is left out, it is often its secret."""
    for url in split(settings.alertmanager_urls):
        yield f"Alertmanager {urlsplit(url).netloc}", _ready(f"{url.rstrip('/')}/-/ready")
    for url in split(settings.webhook_urls):
        parts = urlsplit(url)
        yield f"webhook {parts.hostname}", _listens(parts.hostname or "", parts.port, parts.scheme)


def _ready(url: str) -> str | None:
    if urlsplit(url).scheme not in ("http", "https"):
        return "its address is no http:// or https://"
    try:
        with urllib.request.urlopen(url, timeout=SECONDS):  # noqa: S310 - the scheme is checked
            return None
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except OSError as error:
        return str(getattr(error, "reason", error))


def _listens(host: str, port: int | None, scheme: str) -> str | None:
    try:
        socket.create_connection((host, port or (443 if scheme == "https" else 80)), SECONDS).close()
    except OSError as error:
        return str(error)
    return None
