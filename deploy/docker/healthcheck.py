"""Healthy: /healthz of this container answers 200. Standard library only, and quick to start."""

import os
import ssl
import sys
import urllib.request

PORT = os.environ.get("HEALTHCHECK_PORT") or os.environ.get("STREAM_DETECTOR_METRICS_PORT") or "9464"

SCHEME = "https" if os.environ.get("STREAM_DETECTOR_METRICS_CERT_FILE") else "http"


def main() -> int:
    """0 = healthy, 1 = not."""
    context = ssl.create_default_context()
    # It asks itself: nobody stands in between, and the certificate names the host and not this address.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{SCHEME}://127.0.0.1:{PORT}/healthz", timeout=4, context=context) as answer:  # noqa: S310 - ours
            return 0 if answer.status == 200 else 1
    except OSError as error:
        sys.stderr.write(f"/healthz on port {PORT}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
