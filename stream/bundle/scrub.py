"""The last door before a support bundle: secrets out, numbers masked. Pure, but for `secrets_of`.

What is known to be secret (values of the environment, keys in files) is taken out wherever it
stands, in each form that it could slip out in. What only looks like one is taken out as well: a
line too little helps less, a key too much is a key given away.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

GONE = "[secret]"
SECRET_CHARS_MIN = 6
_FILE_BYTES_MAX = 64 * 1024
_NAMED = re.compile(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH|RINGFENCE_", re.IGNORECASE)
_HARMLESS = {"RINGFENCE_CONFIG", "RINGFENCE_ACTOR"}
_LOOKS = (
    re.compile(r"(?<=://)[^/\s@\"':]*+:[^/\s@\"']*+(?=@)"),
    re.compile(r"whsec_[A-Za-z0-9+/=_-]+"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
    re.compile(r"(?i)(?<=bearer )[^\s\"',]+"),
    re.compile(
        r"(?i)(?<![a-z_.])(?:password|passphrase|secret|token|api[_-]?key)\b[\"']?\s*[=:]\s*[\"']?"
        r"(?!\[|\"|'|not set|set\b|null|\d+ clients)[^\s\"',&}]+"
    ),
)
_PLUS = re.compile(r"\+\d{6,15}")
_RUN = re.compile(r"(?<![\w.])\d{9,15}(?![\w.])")


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes `secrets` out of texts, longest first, and what looks like one."""

    secrets: tuple[str, ...]

    def text(self, text: str, *, runs: bool = True) -> str:
        """The text without secrets and whole numbers; `runs`: digits without a plus are one too."""
        for known in self.secrets:
            text = text.replace(known, GONE)
        for pattern in _LOOKS:
            text = pattern.sub(GONE, text)
        text = _PLUS.sub(lambda found: _ends(found[0]), text)
        return _RUN.sub(lambda found: _ends(found[0]), text) if runs else text


def _ends(number: str) -> str:
    """Of a number only the ends: at least three digits are gone."""
    kept = 5 if number.startswith("+") else 4
    tail = min(4, max(0, len(number) - kept - 3))
    return f"{number[:kept]}***{number[len(number) - tail :] if tail else ''}"


def forms_of(value: bytes) -> Iterator[str]:
    """Every form in which a secret could stand in a text."""
    texts = {value.hex(), b64encode(value).decode(), urlsafe_b64encode(value).decode()}
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text:
        texts |= {text, quote(text, safe=""), msgspec.json.encode(text).decode()[1:-1]}
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        texts |= {text.lower(), text.upper(), b64encode(bytes.fromhex(text)).decode()}
    for one in texts:
        if len(one) >= SECRET_CHARS_MIN:
            yield one
            yield one.rstrip("=")


def secrets_of(environ: Mapping[str, str], folders: Iterable[Path]) -> tuple[str, ...]:
    """All that is known to be secret: the environment's, and files in folders of keys."""
    found: set[str] = set()
    for name, value in environ.items():
        if not _NAMED.search(name) or name in _HARMLESS or not value:
            continue
        if name.endswith("_FILE"):
            for line in _read(Path(value)).splitlines():
                found |= {form for word in line.split() for form in forms_of(word)}
        else:
            found |= {form for word in (value, *value.split()) for form in forms_of(word.encode())}
    for folder in folders:
        for path in [*folder.glob("*.key"), *folder.glob("*.pem")] if folder.is_dir() else []:
            for line in _read(path).splitlines():
                if b"-----" not in line:
                    found |= set(forms_of(line.strip()))
    return tuple(sorted(found, key=len, reverse=True))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX)
    except OSError:
        return b""  # what we can not read, we can not give away


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Which variables of ours are set; never to what."""
    return {name: "set" for name in sorted(environ) if name.startswith("RINGFENCE_")}
