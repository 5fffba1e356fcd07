"""Tokens of AWS IAM for SASL OAUTHBEARER, as Amazon MSK takes them.

A token is an address that AWS' own signer has signed with our credentials: no request is sent for
it, and MSK checks the signature. The credentials are what AWS' SDK finds: variables, a profile, the
role of the pod or of the machine; some of these are asked over the network. The signer is the
optional extra `msk`, and imported only where a region is set.
"""

import asyncio
from typing import Final

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed

from stream.core.model.errors import ConfigInvalid
from stream.kafka.settings import AwsIamSettings
from stream.ops.clock import now_ms

_USED: Final = 0.8
"""Part of its life for which a token is used: the broker's clock may be ahead of ours."""
_WAIT_S: Final = 30.0
"""Longest wait for credentials. The SDK asks a machine's metadata, twice."""
WHERE: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the machine"


class AwsIam(AbstractTokenProvider):
    """aiokafka asks it for a token with each connection; it signs one where the last is old.

    Raises SaslAuthenticationFailed without credentials, KafkaConnectionError where what gives them
    does not answer: the first ends a start, the second is waited out.
    """

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
        self._settings = settings
        self._token = ""
        self._until_ms = 0.0
        # Connections to several brokers are made at once, and one token is enough.
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """Return a token that is good for a while."""
        async with self._asking:
            if now_ms() >= self._until_ms:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        region, errors, asked_ms = self._settings.region, self._errors, now_ms()
        try:
            async with asyncio.timeout(_WAIT_S):
                token, until_ms = await asyncio.to_thread(self._sign, region)
        except TimeoutError as error:
            raise KafkaConnectionError(f"AWS gives no credentials within {_WAIT_S:g} s") from error
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
        self._token = token
        self._until_ms = asked_ms + (until_ms - asked_ms) * _USED
