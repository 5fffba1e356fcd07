"""A connection to a broker in memory, for tests of what is sent without aiokafka's tasks."""

import asyncio
from typing import Any

from aiokafka.errors import KafkaConnectionError


class BrokerConnection:
    """An open connection. A subclass gives the answers to `_requests`, the oldest first."""

    _request_timeout = 30.0

    def __init__(self) -> None:
        self.is_open = True
        self.sent: list[Any] = []
        self._requests: list[tuple[int, Any, asyncio.Future[Any]]] = []

    def connected(self) -> bool:
        """Return whether it is open."""
        return self.is_open

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Send a request; return its answer to come. Raises KafkaConnectionError."""
        if not self.is_open:
            raise KafkaConnectionError("closed")
        self.sent.append(request)
        answer = asyncio.get_running_loop().create_future()
        self._requests.append((len(self.sent), request, answer))

        async def waiting() -> Any:
            return await answer

        return waiting()

    def close(self, reason: Any = None) -> Any:
        """Lose it, with all that waits for an answer."""
        self.is_open = False
        for _, _, answer in self._requests:
            if not answer.done():
                answer.set_exception(KafkaConnectionError("lost"))
        self._requests = []
