"""One socket to a broker, opened by aiokafka and then taken over, so that nothing is copied.

aiokafka does what a connection needs before its first fetch: TLS, SASL, the versions that the
broker speaks. Then the transport gets another protocol, which receives straight into a buffer of
ours. Of aiokafka 0.14 this needs three private names (`_writer`, `_read_task`, `_versions`): an
upgrade that changes one fails every test of the fetcher.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from aiokafka.conn import create_conn

from stream.core.model.byte_strings import PADDING
from stream.kafka.fetch.messages import PREFIX
from stream.kafka.settings import KafkaSettings

BUFFER_BYTES_MIN = 256 * 1024
"""Enough while the worker keeps up; the answers of a backlog make the buffer grow."""
_BUFFER_BYTES_KEPT = 32 * 1024 * 1024
"""A buffer that had to grow beyond this for one answer is not kept for the next."""
ANSWERS_LOOKED_AT = 1_000
"""A buffer is made smaller if so many answers in a row needed less than a quarter of it."""
_HEAD_BYTES = 64 * 1024
"""As much of an answer that is too large is looked at, to say whose records they are."""


class Buffer:
    """The buffer of an answer: `data` uint8, with `PADDING` bytes after `capacity`."""

    def __init__(self) -> None:
        self._make(BUFFER_BYTES_MIN)
        self._answers = self._largest = 0

    def _make(self, capacity: int) -> None:
        self.data = np.zeros(capacity + PADDING, np.uint8)
        self.view = self.data.data
        self.capacity = capacity

    def grow(self, capacity: int, filled: int) -> None:
        """Make room for `capacity` bytes; the first `filled` stay.

        Twice as much as before where that is kept, so that answers which rise copy little.
        """
        before = self.view
        self._make(max(capacity, min(2 * self.capacity, _BUFFER_BYTES_KEPT)))
        self.view[:filled] = before[:filled]

    def give_back(self, used: int) -> None:
        """Give back what only a backlog or an unusual answer needed; the last answer `used` bytes.

        Without it each stall that was longer than any before would add memory for good.
        """
        self._answers += 1
        self._largest = max(self._largest, used)
        if self.capacity > _BUFFER_BYTES_KEPT:
            self._make(BUFFER_BYTES_MIN)
        elif self._answers >= ANSWERS_LOOKED_AT:
            if self.capacity > max(4 * self._largest, BUFFER_BYTES_MIN):
                self._make(max(2 * self._largest, BUFFER_BYTES_MIN))
            self._answers = self._largest = 0


OnAnswer = Callable[[Buffer, int, int], None]
"""Told of an answer: where it is, how many bytes were received, and of how many (with prefix).

Fewer were received than there are only where there are more than may be."""


class FetchConnection(asyncio.BufferedProtocol):
    """Asks and receives, one answer at a time. `on_lost` is called once, with the reason.

    A `BufferedProtocol`: the transport receives into our buffer, where a `Protocol` would get a new
    bytes object each time, to be copied. `lost`: it ended. `heard_s` is when bytes came last, by
    the loop's clock.
    """

    def __init__(
        self, answer_bytes_max: int, on_answer: OnAnswer, on_lost: Callable[[str], None]
    ) -> None:
        self._answer_bytes_max = answer_bytes_max
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._opened: Any = None
        self._transport: Any = None
        self._before: Any = None
        self._buffer: Buffer | None = None
        self._received = 0
        self._size = 0
        self._surplus = bytearray(1)
        self._loop = asyncio.get_running_loop()
        self.lost = False
        self.heard_s = self._loop.time()

    async def open(self, kafka: KafkaSettings, host: str, port: int) -> None:
        """Connect and take over. Raises OSError, KafkaError, TimeoutError."""
        options = kafka.options()
        del options["bootstrap_servers"]
        opened: Any = await create_conn(host, port, **options)
        self._opened = opened
        self._transport = opened._writer.transport  # noqa: SLF001
        self._before = self._transport.get_protocol()
        # Its reader first: it would wait on the old protocol for bytes that go to us from now on.
        opened._read_task.cancel()  # noqa: SLF001
        self._transport.set_protocol(self)
        # A connection that was lost before we took over tells the old protocol, and us never.
        if self._transport.is_closing():
            self._end("it was closed at once")

    def speaks(self, api: int, version: int) -> bool:
        """Return whether the broker answers this version of a request."""
        lowest, highest = self._opened._versions.get(api, (1, 0))  # noqa: SLF001
        return bool(lowest <= version <= highest)

    def ask(self, request: bytes, buffer: Buffer) -> None:
        """Send a request; receive its answer into `buffer`."""
        assert self._buffer is None, "one at a time"
        self._buffer, self._received, self._size = buffer, 0, 0
        self._transport.write(request)

    def close(self) -> None:
        """End it without a report."""
        self.lost = True
        self._buffer = None
        # Once: of Debian 12's Python a TLS transport that was closed cannot be aborted.
        transport, self._transport = self._transport, None
        if transport is not None:
            # Not `close`: that would wait until a broker that hangs has taken what was sent.
            transport.abort()
            self._opened.close()

    def get_buffer(self, sizehint: int) -> Any:
        """Return where the next bytes go: all that follows, in as few reads as can be."""
        del sizehint
        # asyncio takes no empty buffer. One byte is enough to see that something came unasked.
        if self._buffer is None:
            return self._surplus
        return self._buffer.view[self._received : self._buffer.capacity]

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes that came; hand a whole answer over."""
        buffer = self._buffer
        if buffer is None:
            self._end("it sent what nobody asked for")
            return
        self.heard_s = self._loop.time()
        self._received += nbytes
        if self._size == 0:
            if self._received < PREFIX:
                return
            self._size = PREFIX + int.from_bytes(buffer.view[:PREFIX], "big", signed=True)
            if self._size <= PREFIX:
                self._end(f"it announced an answer of {self._size - PREFIX} bytes")
                return
            if buffer.capacity < self._size <= self._answer_bytes_max:
                buffer.grow(self._size, self._received)
        # Of one that is too large the head is enough: it says whose records are.
        too_large = self._size > self._answer_bytes_max
        wanted = min(self._size, _HEAD_BYTES) if too_large else self._size
        if self._received == wanted or (too_large and self._received > wanted):
            # First, since its taker may ask for the next answer at once.
            self._buffer = None
            self._on_answer(buffer, self._received, self._size)
        elif self._received > wanted:
            self._end(f"it sent more than the {self._size} bytes that it announced")

    def eof_received(self) -> bool:
        """Let the transport close: nothing more comes, so nothing more is asked."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell aiokafka too, whose protocol this was before: it ended, or we aborted it."""
        self._before.connection_lost(exc)
        self._end(f"the connection was lost ({exc!r})" if exc else "the broker closed it")

    def _end(self, why: str) -> None:
        if not self.lost:
            self.close()
            self._on_lost(why)
