"""The last step before a support bundle: remove secrets, mask numbers. Pure, but for `secrets_of`.

Known secrets (values of the environment, keys in files) are removed wherever they occur, in each
form that they could take. What only looks like a secret is removed as well: a missing line costs
help, a leaked key is lost.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

GONE = "[secret]"
SECRET_CHARS_MIN = 6  # a shorter value would be removed from innocent words too
_PART_MIN = 16  # of a path: a shorter one is a word, as `notifications` is
_FILE_BYTES_MAX = 64 * 1024
_NAMED = re.compile(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH|RINGFENCE_", re.IGNORECASE)
_HARMLESS = {"RINGFENCE_CONFIG", "RINGFENCE_ACTOR"}
# Every expression below takes time in proportion to its text, also where it finds nothing: what
# repeats is followed by what it cannot be itself, or may begin only once in a word. Callers decide
# what a log line holds; with one expression of another kind 16 kB of it took a second.
_QUOTE = r"\\{0,4}[\"']?"
_TEXT = r"""(?:(")(?:[^"\\\r\n]|\\.)+|(')(?:[^'\\\r\n]|\\.)+|"""
"""A value in quotes; what else it may be follows."""
_LOOKS = (
    # The user in an address: a token may stand in its place.
    (re.compile(r"(?<=://)[^/?#\s\"'<>]*@"), f"{GONE}@"),
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r".*?(?:-----END [A-Z ]{0,40}-----|\Z)",
            re.DOTALL,
        ),
        GONE,
    ),
    # A header's whole value, as HTTP, JSON or Python write it: a cookie has more than one part.
    (
        re.compile(
            rf"(?i)((?:authorization|cookie|x-api-key|x-auth-token){_QUOTE}\s{{0,4}}"
            r"(?:[:=]|,(?=\s{0,4}b?[\"']))\s{0,4}(?:b(?=[\"']))?\\{0,4})"
            + _TEXT
            + r"[^\"'\r\n][^\r\n]*)"
        ),
        rf"\1\2\3{GONE}",
    ),
    (re.compile(r"(?i)((?:bearer|basic|negotiate)\s{1,4})[^\s\"',]{6,}"), rf"\1{GONE}"),
    (
        re.compile(
            rf"(?i)((?:password|passphrase|passwd|secret|token|api[_-]?key|csrf){_QUOTE}"
            rf"\s{{0,4}}[=:]\s{{0,4}}\\{{0,4}})"
            r"(?![\"']?(?:\[|not set|set\b|null\b|none\b|\d+ clients))" + _TEXT + r"[^\s\"',&;}]+)"
        ),
        rf"\1\2\3{GONE}",
    ),
    (re.compile(r"(ringfence(?:-form)?=)[A-Za-z0-9_-]{20,}"), rf"\1{GONE}"),
    (re.compile(r"rf_[A-Za-z0-9_-]{20,}"), GONE),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), GONE),
    (re.compile(r"(?<![\w-])eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), GONE),
)
# Keys that come in an address: Azure's `sig=`, a token under a name that we do not know.
_ADDRESS_TEXT = re.compile(r"://[^\s\"'<>]+")
_QUERY_VALUE = re.compile(rf"([?&;][^=?&;#]*=)[^&;#]{{{SECRET_CHARS_MIN},}}")
# What says that a number follows, as it is written and encoded; and what may stand between digits.
_MARK = r"(?P<mark>\+|%(?:25){0,3}2b|=2b|\\u002b|&\#(?:43|x2b);|\uff0b|tel:|sips?:)"
_BETWEEN = r"[ \-./()\u00a0\u2010-\u2015]"
_NUMBER = re.compile(rf"(?i){_MARK}(?:(?:{_BETWEEN}|%(?:20|28|29|2d)){{0,3}}\d){{6,15}}\d*")
_QUOTED = re.compile(r"(?<=[\"'])\d{9,15}(?=[\"'])")
# A date of our time alone: other digits in this form may be a number.
_ISO = r"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS = rf"(?<![\d.])(?!0){_OCTET}(?:\.{_OCTET}){{3}}(?!\.?\d)"
# Digits that are surely no number: dates (what follows on the line is their time), moments (which
# Asterisk takes for a call's id), addresses.
_KEPT = (
    rf"(?P<kept>{_ISO}(?!-\d)"
    r"|(?<!\d)(?:\d{4}/(?:0\d|1[0-2])/[0-3]\d|[0-3]\d[-/](?:0\d|1[0-2])[-/]\d{4})(?![-/]?\d)"
    rf"|(?<![\d.])1\d{{9}}\.\d+(?!\.?\d)|{_ADDRESS})"
)
_RUN = re.compile(rf"{_KEPT}|\d(?:{_BETWEEN}{{0,2}}(?!{_ISO}|{_ADDRESS})\d){{8,}}")
_ID = re.compile(
    r"(?=.*[A-Fa-f])(?:[0-9A-Fa-f]{16}|[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|"
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"
)
"""A request's id, a hash, a UUID: a helper follows it through the logs."""
_ID_CHARS = 64  # a SHA-256 in hex is the longest id in our logs
_AROUND_ID = re.compile(r"[^0-9A-Fa-f-]")


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes `secrets` out of texts, longest first, and what looks like one."""

    secrets: tuple[str, ...]

    def text(self, text: str, *, runs: bool = True) -> str:
        """Return the text without secrets and numbers; `runs`: also digits without a plus."""
        for known in self.secrets:
            text = text.replace(known, GONE)
        for pattern, instead in _LOOKS:
            text = pattern.sub(instead, text)
        text = _ADDRESS_TEXT.sub(lambda found: _QUERY_VALUE.sub(rf"\1{GONE}", found[0]), text)
        text = _NUMBER.sub(_number, text)
        text = _QUOTED.sub(lambda found: _ends(found[0]), text)
        return _RUN.sub(_run, text) if runs else text


def _number(found: re.Match[str]) -> str:
    mark = found["mark"]
    rest = re.sub(r"%[0-9A-Fa-f]{2}", "", found[0][len(mark) :])
    return mark + _ends("".join(filter(str.isdecimal, rest)))


def _run(found: re.Match[str]) -> str:
    """Mask digits that nothing marks as a number, unless they are surely something else."""
    if found["kept"] or _is_id(found):
        return found[0]
    return _ends("".join(filter(str.isdecimal, found[0])))


def _is_id(found: re.Match[str]) -> bool:
    """Return whether the digits are a part of an id, within the length of one."""
    start, end = found.span()
    left = found.string[max(0, start - _ID_CHARS - 1) : start]
    right = found.string[end : end + _ID_CHARS + 1]
    before = _AROUND_ID.split(left)[-1]
    after = _AROUND_ID.split(right, maxsplit=1)[0]
    return _ID.fullmatch(before + found[0] + after) is not None


def _ends(digits: str) -> str:
    """Keep only the ends of a number's digits: at least three are masked."""
    kept = min(4, len(digits) - 3)
    tail = min(4, max(0, len(digits) - kept - 3))
    return f"{digits[:kept]}***{digits[len(digits) - tail :] if tail else ''}"


def forms_of(value: bytes) -> Iterator[str]:
    """Yield every form in which a secret could stand in a text."""
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


def secrets_of(
    environ: Mapping[str, str],
    folders: Iterable[Path],
    named: Collection[str] = (),
    addresses: Iterable[str] = (),
) -> tuple[str, ...]:
    """Collect the known secrets: of the environment, and of files in folders of keys.

    `named` variables hold secrets whatever their names are. So do long parts of the paths of
    `addresses`: who knows the address of a webhook may send to it.
    """
    found: set[str] = set()
    for address in addresses:
        parts = re.split(r"[/?#]", address.partition("://")[2])[1:]
        found |= {f for one in parts if len(one) >= _PART_MIN for f in forms_of(one.encode())}
    for name, value in environ.items():
        # `RINGFENCE_CALLS__GROUP_ID` is a setting, and none is a secret: a topic stays readable.
        is_setting = name.startswith("RINGFENCE_") and "__" in name
        is_secret = _NAMED.search(name) and name not in _HARMLESS and not is_setting
        if not value or not (is_secret or name.removesuffix("_FILE") in named):
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
        return b""  # what we cannot read, we cannot give away


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the names of our variables that are set, never their values."""
    return {name: "set" for name in sorted(environ) if name.startswith("RINGFENCE_")}
