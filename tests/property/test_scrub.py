"""Nothing planted in a support bundle's texts survives, in whatever form and place it stands."""

import base64
import json
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.doctor.scrub import GONE, Scrubber
from tests.growth.attacks import Attack
from tests.growth.measured import grows

SCRUBBER: Final = Scrubber(())
"""It knows no secret: all that it takes out it recognises."""
TOKENS = st.binary(min_size=32, max_size=32).map(
    lambda data: "rf_" + base64.urlsafe_b64encode(data).decode().rstrip("=")
)
WORDS = st.text("abcdefXYZ0123456789+/_.~!*$", min_size=6, max_size=40).filter(
    lambda text: not text.isdigit() and not text.startswith(("set", "null", "none"))
)
SECRET_FORMS: Final[dict[str, Callable[[str], str]]] = {
    "alone": lambda token: token,
    "in a path": lambda token: f"GET /v1/x/{token}/y HTTP/1.1",
    "in a query": lambda token: f"https://h.example/list?key={token}&x=1",
    "in JSON": lambda token: json.dumps({"client": "x", "sent": token}),
    "bearer": lambda token: f"Authorization: Bearer {token}",
    "pasted": lambda token: f"token {token} does not work",
    "as a user": lambda token: f"https://{token}@h.example/list",
}
WORD_FORMS: Final[dict[str, Callable[[str], str]]] = {
    "basic": lambda word: f"Authorization: Basic {_base64(word)}",
    "basic in JSON": lambda word: json.dumps({"authorization": f"Basic {_base64(word)}"}),
    "basic in Python": lambda word: repr([(b"authorization", f"Basic {_base64(word)}".encode())]),
    "basic alone": lambda word: f"sent basic {_base64(word)} and was refused",
    "proxy": lambda word: f"Proxy-Authorization: Digest username=x, response={word}",
    "cookie": lambda word: f"Cookie: a=b; ringfence={word}; c=d",
    "cookie in JSON": lambda word: json.dumps({"Cookie": f"theme=dark; ringfence={word}"}),
    "cookie in JSON in JSON": lambda word: json.dumps(json.dumps({"cookie": f"a={word}"})),
    "cookie in curl": lambda word: f"curl -H 'Cookie: ringfence={word}' http://h",
    "set-cookie": lambda word: f"set-cookie: __Host-ringfence={word}; Secure; HttpOnly",
    "password": lambda word: f"redis_password = {word}",
    "quoted": lambda word: f'passphrase: "well, {word} it is"',
    "in an address": lambda word: f"rediss://ringfence:{quote(word, safe='')}@r.example:6379/0",
    "form": lambda word: f"csrf={quote(word, safe='')}&reason=x",
}
PLUS = st.sampled_from(
    ["+", "%2B", "%2b", "%252B", "tel:+", "sip:+", "=2B", "\\u002b", "&#43;", "\uff0b", "TEL:+"]
)
BARE = st.sampled_from(["", "tel:", "sip:", "caller=", "n", "<", '"', "(0)"])
SEPARATORS = st.sampled_from(["", "", " ", "-", ".", "/", " (", ") ", "\u00a0", "\u2011"])
AROUND = st.text("ghijk ,;:<>[]{}()!?'\"\n\t=&|", max_size=12)


def _base64(word: str) -> str:
    return base64.b64encode(f"user:{word}".encode()).decode()


@st.composite
def written(draw: st.DrawFn, digits: str) -> str:
    """Digits as people write them: with or without something between."""
    parts, at = [], 0
    while at < len(digits):
        size = draw(st.integers(1, 5))
        parts.append(digits[at : at + size])
        at += size
    text = parts[0]
    for part in parts[1:]:
        text += draw(SEPARATORS) + part
    return text


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, str, bool]:
    """A number's digits, the same as it is written, and whether something says that it is one."""
    marked = draw(st.booleans())
    digits = draw(
        st.from_regex(r"[1-9][0-9]{8,14}" if marked else r"0[1-9][0-9]{8}", fullmatch=True)
    )
    text = draw(PLUS if marked else BARE) + draw(written(digits))
    return digits, text, marked


@pytest.mark.parametrize("form", SECRET_FORMS)
@given(TOKENS, AROUND, AROUND)
def test_no_token_survives(form: str, token: str, before: str, behind: str) -> None:
    """A token of ours is taken out wherever it stands: it need not be called one."""
    text = SCRUBBER.text(before + SECRET_FORMS[form](token) + behind)
    assert token not in text
    assert GONE in text


@pytest.mark.parametrize("form", WORD_FORMS)
@given(WORDS, AROUND)
def test_no_credential_survives(form: str, word: str, before: str) -> None:
    """A secret in a header, a cookie, an address or a setting is removed, whole."""
    text = SCRUBBER.text(f"{before}\n{WORD_FORMS[form](word)}\nnext line")
    for one in (word, quote(word, safe=""), _base64(word)):
        assert one not in text
    assert text.endswith("\nnext line")


@given(numbers(), AROUND, AROUND)
def test_no_number_survives(number: tuple[str, str, bool], before: str, behind: str) -> None:
    """Of a number in any form, with a plus or a code for it, with separators or none, only the
    ends are left. Without a plus that holds for logs; for our own JSON with one.
    """
    digits, text, marked = number
    for runs in (True, False) if marked else (True,):
        out = SCRUBBER.text(f"{before}{text}{behind}", runs=runs)
        assert digits not in "".join(filter(str.isdecimal, out)), out


KEPT: Final = (
    "2026-11-25T10:20:30.123Z INFO at 2026-11-25 10:20:30",
    "25/11/2026 10:20:30 10.0.0.1:9092 192.168.100.200",
    "call 1795638590.123 took 0.1234567 s",
    "request 9a98a788000000cc 550e8400-e29b-41d4-a716-446655440000",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    '{"RINGFENCE_REDIS_PASSWORD": "set", "RINGFENCE_HTTP_TOKENS": "2 clients"}',
    "decision 4F7K2M9QX1RZC of KH/scam, generation 412 of 1234 rows",
)


@pytest.mark.parametrize("line", KEPT)
def test_what_helps_stays(line: str) -> None:
    """Times, addresses, ids and hashes are what somebody who helps goes by."""
    assert SCRUBBER.text(line) == line


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        ("://", "a:"),
        ("", "://a:"),
        ("", "password  "),
        ("", "token ="),
        ("", "+66 "),
        ("", "%2"),
        ("", "%25"),
        ("+6", " "),
        ("", "1"),
        ("", "1."),
        ("", "1 "),
        ("", "0.1"),
        ("", "2026-11-25 "),
        ("", "12-12-"),
        ("", "-----BEGIN "),
        ("-----BEGIN ", "A "),
        ("", "-----BEGIN PRIVATE KEY-----"),
        ("-----BEGIN PRIVATE KEY-----", "-----END "),
        ("", "Bearer "),
        ("", "basic  "),
        ("", "Cookie: '"),
        ("Cookie: '", "\\"),
        ('token="', "\\'"),
        ("", "authorization,"),
        ("", "rf_"),
        ("", "eyJ"),
        ("", "eyJaaaaaa."),
        ("eyJ", "a"),
        ("", "abcdef0123456789"),
        ("", "a1234567890-"),
        ("", "\\"),
        ("", "é"),
    ],
)
def test_it_takes_time_in_proportion(before: str, piece: str) -> None:
    """A line that somebody made for it holds up no bundle."""
    assert grows(SCRUBBER.text, [Attack(before, piece, "!")], is_bytes=False) is None
