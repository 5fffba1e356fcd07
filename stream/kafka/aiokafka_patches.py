"""Three changes to aiokafka 0.14, each where it has no option for it.

Metadata: the fetcher of aiokafka asks again as soon as it is answered while a partition has no
leader. Of a cluster that was there, that were as many requests as it answers; of a broker that had
gone in order, 4,000 connections a second, and a core of each worker.

Positions: Kafka answers a question for them with one error for the group and no partition, for
example while a new coordinator loads (since version 2 of the request, KIP-88). aiokafka looks at
partitions alone. It takes it that nothing was ever committed, and begins at `auto_offset_reset`:
with "latest" calls are lost, with "earliest" all are decided again, in transactions too.

Passwords of files: aiokafka takes a password as text when a client is made, and gives that to each
connection that the client makes later. Its one hook is for OAUTHBEARER. So its function that makes
a connection is replaced by one that reads the file first; it does nothing for any other password.
"""

import asyncio
from typing import Any, Self

import aiokafka.client
from aiokafka.conn import create_conn
from aiokafka.errors import CoordinatorNotAvailableError, NotCoordinatorError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

from stream.ops.renewed_secret import RenewedSecret

PACE_S = 0.1
"""Between two questions: as `retry.backoff.ms` of Kafka's own clients."""


class _PacedClient:
    """A client that asks for metadata at most every `PACE_S`; all else is the client's own."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._asked_s = -PACE_S
        self._later: asyncio.Future[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def force_metadata_update(self) -> "asyncio.Future[Any]":
        """Ask now, or once it is time; the future ends with that question, or as it is asked."""
        wait_s = self._asked_s + PACE_S - self._loop.time()
        if wait_s <= 0:
            self._asked_s = self._loop.time()
            asked: asyncio.Future[Any] = self._client.force_metadata_update()
            return asked
        if self._later is None:
            self._later = self._loop.create_future()
            self._loop.call_later(wait_s, self._ask)
        return self._later

    def _ask(self) -> None:
        later, self._later = self._later, None
        self._asked_s = self._loop.time()
        self._client.force_metadata_update()
        # The fetcher looks at the metadata then, and asks again in `PACE_S` at the earliest.
        if later is not None and not later.done():
            later.set_result(None)


def pace_metadata(consumer: Any) -> None:
    """Give the fetcher of a consumer that was started a client with a pace."""
    consumer._fetcher._client = _PacedClient(consumer._client)  # noqa: SLF001 - no option has it


def heed_group_errors(consumer: Any) -> None:
    """Let a started consumer ask again where its coordinator cannot say what is committed."""
    coordinator = consumer._coordinator  # noqa: SLF001 - no option has it
    ask = getattr(coordinator, "_send_req", None)
    if ask is None:  # a consumer in no group
        return

    async def heeding(request: Any) -> Any:
        answer = await ask(request)
        code = answer.error_code if isinstance(request, OffsetFetchRequest) else 0
        if code:
            error = for_code(code)
            if error in {CoordinatorNotAvailableError, NotCoordinatorError}:
                coordinator.coordinator_dead()
            raise error("committed positions cannot be asked")
        return answer

    coordinator._send_req = heeding  # noqa: SLF001


class RenewedPassword(str):
    """The password of now, as text for aiokafka's checks, and its file."""

    __slots__ = ("secret",)

    secret: RenewedSecret[str]

    def __new__(cls, secret: RenewedSecret[str]) -> Self:
        """Take the file's text of now."""
        made = super().__new__(cls, secret.now())
        made.secret = secret
        return made


async def _create_conn(*place: Any, **options: Any) -> Any:
    password = options.get("sasl_plain_password")
    if isinstance(password, RenewedPassword):
        options["sasl_plain_password"] = password.secret.now()
    return await create_conn(*place, **options)


# Clients look the name up in their module at each connection.
aiokafka.client.create_conn = _create_conn  # type: ignore[attr-defined]
