"""Signs what is posted to a webhook, so that its receiver knows who sent it, when, and that nobody changed it.

The signature is HMAC-SHA256 over `TIMESTAMP.BODY` (RFC 2104); the timestamp stops an old request from being sent again.
"""

import hashlib
import hmac
from collections.abc import Mapping

TIMESTAMP_HEADER = "X-Stream-Detector-Timestamp"
SIGNATURE_HEADER = "X-Stream-Detector-Signature"


def sign(secret: bytes, body: bytes, now: float) -> dict[str, str]:
    """The two headers for a body that is sent at `now` (epoch seconds)."""
    timestamp = str(int(now))
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: f"sha256={_digest(secret, timestamp, body)}"}


def verify(
    secret: bytes, body: bytes, headers: Mapping[str, str], now: float, tolerance_seconds: float = 300.0
) -> bool:
    """Whether the body came from somebody who knows the secret, at most `tolerance_seconds` ago. For receivers."""
    timestamp, signature = headers.get(TIMESTAMP_HEADER, ""), headers.get(SIGNATURE_HEADER, "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > tolerance_seconds:
        return False
    return hmac.compare_digest(signature.encode(), f"sha256={_digest(secret, timestamp, body)}".encode())


def _digest(secret: bytes, timestamp: str, body: bytes) -> str:
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
