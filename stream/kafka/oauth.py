"""Tokens for SASL OAUTHBEARER (RFC 7628), had by client credentials (RFC 6749, section 4.4)."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed

from stream.kafka.settings import OAuthSettings
from stream.ops.clock import monotonic_s
from stream.ops.renewed_secret import text_of

_WAIT_S: Final = 10.0
"""Longest wait for the identity provider; a client of Kafka tries again by itself."""
_LIFE_S: Final = 300.0
"""Life of a token whose answer says none (RFC 6749, 5.1: `expires_in` is only recommended)."""
_USED: Final = 0.8
"""Part of its life for which a token is used: the broker's clock may be ahead of ours."""
_ANSWER_BYTES: Final = 1 << 20


class ClientCredentials(AbstractTokenProvider):
    """aiokafka asks it for a token with each connection; it asks the provider when one is old.

    Raises SaslAuthenticationFailed where the provider refuses us, KafkaConnectionError where it
    does not answer: the first ends a start, the second is waited out.
    """

    def __init__(self, settings: OAuthSettings) -> None:
        super().__init__()
        self._settings = settings
        self._token = ""
        self._until_s = 0.0
        # Connections to several brokers are made at once, and one question is enough.
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """Return a token that is good for a while."""
        async with self._asking:
            if monotonic_s() >= self._until_s:
                await self._renew()
            return self._token

    def extensions(self) -> dict[str, str]:
        """Return what goes to the broker beside the token."""
        return dict(self._settings.extensions)

    async def _renew(self) -> None:
        settings = self._settings
        form = {"grant_type": "client_credentials"}
        if settings.scope:
            form["scope"] = settings.scope
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_WAIT_S)) as session,
                session.post(
                    settings.token_url,
                    data=form,
                    headers={"Accept": "application/json", "Authorization": _basic(settings)},
                    # The secret goes to the address that was configured, and to no other.
                    allow_redirects=False,
                ) as response,
            ):
                status = response.status
                answer = _read(await response.content.read(_ANSWER_BYTES))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KafkaConnectionError(f"{settings.token_url}: {error!r}") from error
        token, life_s = answer.get("access_token"), answer.get("expires_in", _LIFE_S)
        if status in {400, 401, 403}:
            why = answer.get("error_description") or answer.get("error") or f"status {status}"
            text = f"{settings.token_url} refuses the client {settings.client_id}: {why}"
            raise SaslAuthenticationFailed(text)
        if status != 200 or not isinstance(token, str) or not isinstance(life_s, int | float):
            raise KafkaConnectionError(f"{settings.token_url}: no token, status {status}")
        self._token = token
        self._until_s = monotonic_s() + life_s * _USED


def _basic(settings: OAuthSettings) -> str:
    """Return our name and secret, each form-encoded first (RFC 6749, 2.3.1)."""
    pair = f"{quote_plus(settings.client_id)}:{quote_plus(text_of(settings.client_secret) or '')}"
    return f"Basic {b64encode(pair.encode()).decode()}"


def _read(body: bytes) -> Mapping[str, Any]:
    """Return the answer's object; empty where it is none."""
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
