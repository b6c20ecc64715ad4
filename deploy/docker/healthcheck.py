"""Healthy: /healthz of this container answers 200. Standard library only, and quick to start."""

import os
import sys
import urllib.request

PORT = os.environ.get("HEALTHCHECK_PORT") or os.environ.get("STREAM_DETECTOR_METRICS_PORT") or "9464"


def main() -> int:
    """0 = healthy, 1 = not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        sys.stderr.write(f"/healthz on port {PORT}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
