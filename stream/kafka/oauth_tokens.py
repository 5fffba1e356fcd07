"""Tokens for SASL OAUTHBEARER (RFC 7628): by client credentials, and of AWS IAM.

aiokafka asks for a token with each connection; one that is old is renewed first. What gives tokens
raises SaslAuthenticationFailed where it refuses us, which ends a start, and KafkaConnectionError
where it does not answer, which is waited out.

A token of AWS IAM, as Amazon MSK takes it, is an address that AWS' own signer has signed with our
credentials. No request is sent for it, and MSK checks the signature. The credentials are those that
AWS' SDK finds: variables, a profile, the role of the pod or of the machine. Some of these are
requested over the network. The signer is the optional extra `msk`, imported if a region is set.
"""

import asyncio
import math
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed

from stream.core.model.errors import ConfigInvalid
from stream.kafka.settings import AwsIamSettings, OAuthSettings
from stream.ops.clock import monotonic_s, now_s
from stream.ops.renewed_secret import text_of

_USED: Final = 0.8
"""Part of its life for which a token is used: the broker's clock may be ahead of ours."""
_LIFE_S: Final = 300.0
"""Life of a token whose answer has none (RFC 6749, 5.1: `expires_in` is only recommended)."""
_PROVIDER_WAIT_S: Final = 10.0
"""Longest wait for the identity provider; a client of Kafka tries again by itself."""
_AWS_WAIT_S: Final = 30.0
"""Longest wait for credentials. The SDK asks a machine's metadata, twice."""
_ANSWER_BYTES: Final = 1 << 20  # a token has a few KB; another server may send more
WHERE: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the machine"


class _RenewedToken(AbstractTokenProvider):
    """Keeps a token for most of its life."""

    def __init__(self) -> None:
        super().__init__()
        self._token = ""
        self._until_s = 0.0
        # Connections to several brokers are made at once, and one token is enough.
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """Return a token that is good for a while."""
        async with self._asking:
            if (asked_s := monotonic_s()) >= self._until_s:
                self._token, life_s = await self._new()
                self._until_s = asked_s + life_s * _USED
            return self._token

    @abstractmethod
    async def _new(self) -> tuple[str, float]:
        """Return a new token, and its life in seconds."""


class ClientCredentials(_RenewedToken):
    """Tokens of an identity provider, had by client credentials (RFC 6749, section 4.4)."""

    def __init__(self, settings: OAuthSettings) -> None:
        super().__init__()
        self._settings = settings

    def extensions(self) -> dict[str, str]:
        """Return what goes to the broker beside the token."""
        return dict(self._settings.extensions)

    async def _new(self) -> tuple[str, float]:
        # It takes 0.2 s to import, and few brokers ask for these tokens.
        import aiohttp

        settings = self._settings
        form = {"grant_type": "client_credentials"}
        if settings.scope:
            form["scope"] = settings.scope
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PROVIDER_WAIT_S)) as session,
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
        token = answer.get("access_token")
        if status in {400, 401, 403}:
            why = answer.get("error_description") or answer.get("error") or f"status {status}"
            text = f"{settings.token_url} refuses the client {settings.client_id}: {why}"
            raise SaslAuthenticationFailed(text)
        if status != 200 or not isinstance(token, str):
            raise KafkaConnectionError(f"{settings.token_url}: no token, status {status}")
        return token, _life_s(answer.get("expires_in"))


def _life_s(said: object) -> float:
    """Return a token's life; some providers write it as text, as Microsoft's version 1.0 does."""
    try:
        life_s = float(said) if isinstance(said, int | float | str) else _LIFE_S
    except ValueError:
        return _LIFE_S
    return life_s if math.isfinite(life_s) else _LIFE_S


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


class AwsIam(_RenewedToken):
    """Tokens that AWS' signer makes of our credentials."""

    def __init__(self, settings: AwsIamSettings) -> None:
        """Raise ConfigInvalid where the signer is not installed."""
        super().__init__()
        try:
            from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
            from botocore import exceptions
        except ImportError as error:
            how = "pip install 'ringfence[msk]'"
            text = f"kafka.oauth_aws_region needs AWS' signer ({error}): {how}"
            raise ConfigInvalid((text,)) from error
        self._sign = MSKAuthTokenProvider.generate_auth_token
        self._errors = exceptions
        self._region = settings.region

    async def _new(self) -> tuple[str, float]:
        errors, asked_s = self._errors, now_s()
        try:
            async with asyncio.timeout(_AWS_WAIT_S):
                token, until_ms = await asyncio.to_thread(self._sign, self._region)
        except TimeoutError as error:
            text = f"AWS gives no credentials within {_AWS_WAIT_S:g} s"
            raise KafkaConnectionError(text) from error
        except (
            errors.ConnectionError,
            errors.HTTPClientError,
            errors.MetadataRetrievalError,
        ) as error:
            raise KafkaConnectionError(f"AWS gives no credentials: {error}") from error
        except (errors.BotoCoreError, errors.ClientError) as error:
            raise SaslAuthenticationFailed(f"AWS gives no credentials: {error}: {WHERE}") from error
        except (AttributeError, ValueError) as error:  # of the signer: None, or a key that is empty
            raise SaslAuthenticationFailed(f"AWS has no credentials for us: {WHERE}") from error
        return token, until_ms / 1000 - asked_s
