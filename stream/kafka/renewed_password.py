"""Kafka passwords of files: read again at each connection.

aiokafka takes a password as text when a client is made, and gives that to each connection that the
client makes later. Its one hook is for OAUTHBEARER. So its function that makes a connection is
replaced by one that reads the file first; it does nothing for any other password.
"""

from typing import Any, Self

import aiokafka.client
from aiokafka.conn import create_conn

from stream.ops.renewed_secret import RenewedSecret


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
