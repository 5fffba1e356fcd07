"""Tokens of AWS IAM for Amazon MSK: signed here, with credentials that are invented."""

import base64
import builtins
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from botocore.exceptions import ConnectTimeoutError, ProfileNotFound

from stream.config.settings import load
from stream.core.model.errors import ConfigInvalid
from stream.kafka.oauth_tokens import AwsIam
from stream.kafka.settings import AwsIamSettings
from stream.ops.clock import monotonic_s

REGION = "ap-southeast-1"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but those of a test, and no request to a machine's metadata."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


def _given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAINVENTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an invented secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "an invented session")


def _told(token: str) -> tuple[str, Mapping[str, list[str]]]:
    """The host of a token's address, and its parameters."""
    address = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    return f"{address.scheme}://{address.hostname}", parse_qs(address.query)


async def test_a_token_is_a_signed_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the region's Kafka, for the one action that connects; the same one while it is good."""
    _given(monkeypatch)
    tokens = AwsIam(AwsIamSettings(REGION))
    token = await tokens.token()
    host, said = _told(token)
    assert host == f"https://kafka.{REGION}.amazonaws.com"
    assert said["Action"] == ["kafka-cluster:Connect"]
    assert said["X-Amz-Credential"][0].startswith("AKIAINVENTED/")
    assert said["X-Amz-Credential"][0].endswith(f"/{REGION}/kafka-cluster/aws4_request")
    assert said["X-Amz-Security-Token"] == ["an invented session"]
    assert (said["X-Amz-Expires"], len(said["X-Amz-Signature"][0])) == (["900"], 64)
    assert "secret" not in str(said)
    assert await tokens.token() == token
    after_s = monotonic_s() + 900
    monkeypatch.setattr("stream.kafka.oauth_tokens.monotonic_s", lambda: after_s)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAANOTHER")
    assert _told(await tokens.token())[1]["X-Amz-Credential"][0].startswith("AKIAANOTHER/")


async def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, a profile that is none, and a role that does not answer: each says where to look."""
    with pytest.raises(SaslAuthenticationFailed, match=r"no credentials for us: AWS_ACCESS_KEY_ID"):
        await AwsIam(AwsIamSettings(REGION)).token()
    for raised, kind in (
        (ProfileNotFound(profile="prod"), SaslAuthenticationFailed),
        (ConnectTimeoutError(endpoint_url="https://sts.example"), KafkaConnectionError),
    ):
        tokens = AwsIam(AwsIamSettings(REGION))

        def refused(_: str, raised: Exception = raised) -> Any:
            raise raised

        monkeypatch.setattr(tokens, "_sign", refused)
        with pytest.raises(kind, match=r"AWS gives no credentials: .*(prod|sts\.example)"):
            await tokens.token()


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default image has no AWS SDK."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("aws_msk"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigInvalid, match=r"oauth_aws_region .*ringfence\[msk\]"):
        AwsIam(AwsIamSettings(REGION))


def _loaded(**kafka: str) -> Any:
    names = {f"RINGFENCE_KAFKA__{key.upper()}": value for key, value in kafka.items()}
    return load([], names).kafka_client()


def test_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name and no password is needed; what does not fit is named."""
    _given(monkeypatch)
    by = {"sasl_mechanism": "OAUTHBEARER", "security_protocol": "SASL_SSL"}
    kafka = _loaded(**by, oauth_aws_region=REGION)
    assert kafka.oauth == AwsIamSettings(REGION)
    assert isinstance(kafka.options()["sasl_oauth_token_provider"], AwsIam)
    for wrong, said in (
        ({**by, "oauth_aws_region": "Singapore"}, "must be a region of AWS"),
        ({**by, "oauth_aws_region": "evil.example/-a-1"}, "must be a region of AWS"),
        ({"oauth_aws_region": REGION}, "needs sasl_mechanism"),
        ({**by, "oauth_aws_region": REGION, "oauth_token_url": "https://id.example"}, "two ways"),
    ):
        with pytest.raises(ConfigInvalid, match=f"oauth_aws_region.*{said}"):
            _loaded(**wrong)
