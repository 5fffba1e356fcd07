"""Answers 607 and 608: by setting and trunk, and the signed card of RFC 8688."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import sipmessage
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from stream.calls.decide import decide
from stream.calls.lookup import Lookup, LookupStatus
from stream.core.model.decision import SipAnswerSettings
from stream.core.model.errors import ConfigInvalid
from stream.edge.sip.card import SIGNED_S, RejectionCard
from stream.edge.sip.responder import Responder, SipTransport
from stream.edge.sip.settings import CardSettings
from stream.ops.schema.toml import Problems
from tests.support.builders import NOW_S
from tests.support.lookups import LISTS, NOW_MS, REDRESS, TRUNKS, lookup_rules, read
from tests.support.sip import BLOCKED, asked, fields_of, message, responder

PEER = {"trunks": {"192.0.2.7": "peer"}}


def written(path: Path, key: Any) -> Any:
    """Write a private key."""
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def card_settings(tmp_path: Path, **changed: str) -> CardSettings:
    """Settings of a card; its key is in `key.pem`."""
    said = {
        "key_file": str(tmp_path / "key.pem"),
        "certificate_url": "https://certs.example.net/reject.pem",
        "name": "Example Carrier",
        "email": "unblock@carrier.example",
        "tel": "+66812345600",
        "url": "https://redress.example/",
    }
    return CardSettings(**said | changed)


def answering(code: int, *trunks: tuple[str, int], card: Any = None, **changed: Any) -> Responder:
    """A responder with these codes."""
    sip = SipAnswerSettings(REDRESS, "TN", code, trunks)
    rules = replace(lookup_rules(LISTS), sip=sip)
    lookup = Lookup(
        read,
        lambda batch: decide(batch, LISTS, rules, NOW_MS),
        lambda: LookupStatus(True, True),
        lambda: NOW_MS,
        TRUNKS,
    )
    made = responder(lookup=lookup, **changed)
    made._card = card
    return made


@pytest.mark.parametrize(("code", "phrase"), [(607, "Unwanted"), (608, "Rejected")])
def test_a_block_is_answered_as_the_settings_say(code: int, phrase: str) -> None:
    """With the way to appeal, as 603+ has it; another reader understands it."""
    made = asked(message(BLOCKED), answering(code))
    assert made is not None
    assert made.data.startswith(f"SIP/2.0 {code} {phrase}\r\n".encode())
    (reason,) = fields_of(made)["reason"]
    assert reason.startswith(f'SIP;cause={code};text="v=analytics1;url=https://r.example/')
    seen = sipmessage.Message.parse(made.data)
    assert isinstance(seen, sipmessage.Response)
    assert (seen.code, seen.phrase) == (code, phrase)


def test_a_trunk_may_have_a_code_of_its_own() -> None:
    """In the answer, and in the decision that a lookup gives."""
    here = answering(607, ("peer", 608), ("gb", 603), **PEER)
    made = asked(message(BLOCKED), here)
    assert made is not None
    assert made.code == 608
    other = asked(message(BLOCKED), answering(607, ("peer", 608), ("gb", 603)))
    assert other is not None
    assert other.code == 607


def test_608_names_who_rejected_the_call(tmp_path: Path) -> None:
    """As a signed jCard in Call-Info, which the key verifies; no other code has it."""
    key = written(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()))
    card = RejectionCard.of(card_settings(tmp_path), lambda: NOW_S)
    assert card is not None
    made = asked(message(BLOCKED), answering(608, card=card.call_info, **PEER))
    (info,) = fields_of(made)["call-info"]
    uri, purpose = info.split(">;")
    assert purpose == "purpose=jwscard"
    token = uri.removeprefix("<data:application/jose,")
    head = jwt.get_unverified_header(token)
    assert head == {
        "alg": "ES256",
        "typ": "vcard+json",
        "x5u": card_settings(tmp_path).certificate_url,
    }
    options: Any = {"verify_iat": False}
    said = jwt.decode(token, key.public_key(), algorithms=["ES256"], options=options)
    assert said["iat"] == NOW_S
    kind, entries = said["jcard"]
    assert (kind, entries[0], entries[1][3]) == (
        "vcard", ["version", {}, "text", "4.0"], "Example Carrier",
    )  # fmt: skip
    assert [one[3] for one in entries[2:]] == [
        "unblock@carrier.example", "tel:+66812345600", "https://redress.example/",
    ]  # fmt: skip
    assert sipmessage.Message.parse(made.data if made else b"").headers is not None
    plain = asked(message(BLOCKED), answering(603, card=card.call_info, **PEER))
    assert "call-info" not in fields_of(plain)


def test_an_unknown_source_gets_no_card_by_udp() -> None:
    """Its address may be false: the answer would be longer than the request. By TCP it has it."""
    here = answering(608, card=lambda: "<data:application/jose,x>" + "y" * 600)
    made = asked(message(BLOCKED), here)
    assert made is not None
    assert made.code == 608
    assert "call-info" not in fields_of(made)
    by_tcp = asked(message(BLOCKED), here, SipTransport.TCP)
    assert "call-info" in fields_of(by_tcp)


def test_a_card_is_signed_once_an_hour_and_by_a_renewed_key_at_once(tmp_path: Path) -> None:
    """Signing costs as much as thirty answers."""
    path = tmp_path / "key.pem"
    written(path, ec.generate_private_key(ec.SECP256R1()))
    now = [float(NOW_S)]
    card = RejectionCard.of(card_settings(tmp_path), lambda: now[0])
    assert card is not None
    first = card.call_info()
    now[0] += SIGNED_S - 1
    assert card.call_info() == first
    now[0] += 1
    second = card.call_info()
    assert second != first
    key = written(path, ec.generate_private_key(ec.SECP256R1()))
    os.utime(path, ns=(1, 1))
    token = card.call_info().removeprefix("<data:application/jose,").partition(">")[0]
    options: Any = {"verify_iat": False}
    assert jwt.decode(token, key.public_key(), algorithms=["ES256"], options=options)


def test_keys_and_settings_of_no_use_are_refused(tmp_path: Path) -> None:
    """With the setting; the key's text is in no message."""
    assert RejectionCard.of(card_settings(tmp_path, key_file=""), lambda: 0.0) is None
    with pytest.raises(Problems, match="names no file"):
        card_settings(tmp_path)
    (tmp_path / "key.pem").write_text("-----BEGIN SECRET-----")
    for key in (None, ec.generate_private_key(ec.SECP384R1())):
        if key is not None:
            written(tmp_path / "key.pem", key)
        with pytest.raises(ConfigInvalid, match=r"sip\.card: key_file") as error:
            RejectionCard.of(card_settings(tmp_path), lambda: 0.0)
        assert "BEGIN" not in str(error.value)
    for changed in (
        {"certificate_url": "http://x"},
        {"name": ""},
        {"email": "", "tel": "", "url": ""},
        {"name": "x" * 201},
    ):
        with pytest.raises(Problems):
            card_settings(tmp_path, **changed)
