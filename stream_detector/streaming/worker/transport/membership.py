"""Notices that another process has taken this worker's place in its group: it runs under the same instance name.

The broker lets the newer of two members of one name in and forgets the older one. The client takes that for an expired
session and joins again, which pushes the other one out, and so on for ever: nobody gets to commit. But a session
expires only when the broker has not heard of a member for long, and that shows in the clock.
"""

import time
from collections.abc import Callable
from typing import Any

from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest

UNKNOWN_MEMBER = 25
MEMBERS_REQUESTS = (HeartbeatRequest, OffsetCommitRequest)
"""Those of a member. Whichever comes first after it was replaced is refused, and the client then joins again."""
FENCED_INSTANCE = 82
"""aiokafka does not know this code."""


class Membership:
    """Looks at what the group's coordinator answers. `replaced`: another process has this worker's name.

    Args:
        session_seconds: for so long the broker keeps a member that it does not hear of.
        clock: monotonic seconds.
    """

    def __init__(self, session_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.replaced = False
        self._session_seconds = session_seconds
        self._clock = clock
        self._heard_at: float | None = None

    def watch(self, coordinator: Any) -> None:
        """Look at every answer from now on. `coordinator`: of an aiokafka consumer that has an instance name."""
        send = coordinator._send_req  # noqa: SLF001 - all answers of the coordinator pass here

        async def send_and_look(request: Any) -> Any:
            answer = await send(request)
            self.look(request, answer)
            return answer

        coordinator._send_req = send_and_look  # noqa: SLF001 - all answers of the coordinator pass here

    def look(self, request: Any, answer: Any) -> None:
        """Judge one answer."""
        codes, now = _codes(request, answer), self._clock()
        if FENCED_INSTANCE in codes:
            self.replaced = True
        elif UNKNOWN_MEMBER in codes:
            if isinstance(request, MEMBERS_REQUESTS) and self._heard_at is not None:
                self.replaced |= now - self._heard_at < self._session_seconds
        elif getattr(answer, "error_code", None) == 0:
            self._heard_at = now


def _codes(request: Any, answer: Any) -> set[int]:
    """The error codes of an answer; that to a commit has one for each partition."""
    if isinstance(request, OffsetCommitRequest):
        return {code for _, partitions in answer.topics for _, code in partitions}
    return {getattr(answer, "error_code", 0)}
