"""Checks of texts in the settings: each returns what is wrong, or None."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

import phonenumbers

from stream.core.model import names
from stream.core.model.time_zones import zone_of
from stream.core.policy.rules import RULES
from stream.ops.schema.durations import seconds_of, wait_of
from stream.ops.schema.toml import Problem

_ADDRESS_MAX = 512  # characters that are searched for a reserved name
OTHERS = "others"
"""The key in a table of countries that stands for all others."""


def maybe(check: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Return `check` for a value that may be left empty."""
    return lambda text: check(text) if text else None


def filled(text: str) -> str | None:
    """Not empty."""
    return None if text.strip() else "must not be empty"


def country(text: str) -> str | None:
    """A region that numbers can be read in."""
    if text in phonenumbers.SUPPORTED_REGIONS:
        return None
    near = text.upper()
    hint = f'; did you mean "{near}"?' if near in phonenumbers.SUPPORTED_REGIONS else ""
    return f'must be a country of ISO 3166 in two capitals, not "{text}"{hint}'


def dial_prefix(text: str) -> str | None:
    """Digits that are dialled before an international number, or nothing."""
    if re.fullmatch(r"[0-9]{0,6}", text):
        return None
    return f'must be the digits before international numbers, such as 00 or 0011, not "{text}"'


def country_or_others(text: str) -> str | None:
    """A country, or the key for all countries that are not named."""
    return None if text == OTHERS else country(text)


def party(text: str) -> str | None:
    """A party to an agreement: a country or an organisation."""
    if len(text) == 2:
        return country(text)
    return names.wrong(names.NameKind.OWNER, text)


def utc_offset(text: str) -> str | None:
    """A time zone's distance from UTC."""
    try:
        zone_of(text)
    except ValueError as error:
        return f"is no time zone: {error}"
    return None


def servers(text: str) -> str | None:
    """Kafka's bootstrap servers."""
    for one in text.split(","):
        if server(one.strip()) is not None:
            return f'must be host:port, comma separated; "{one.strip()}" is none'
    return None


def server(text: str) -> str | None:
    """A host and its port."""
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        return f'must be host:port, not "{text}"'
    return None


def topic(text: str) -> str | None:
    """A topic name as Kafka allows it."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) and text not in (".", ".."):
        return None
    return f'must be a Kafka topic (letters, digits, "." "_" "-", at most 249), not "{text}"'


def redis_url(text: str) -> str | None:
    """A Redis address without a secret in it."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in ("redis", "rediss", "unix"):
        return f'must begin with redis://, rediss:// (TLS) or unix://, not "{parts.scheme}:"'
    if parts.username or parts.password:
        return (
            "must hold no user and password; they come from RINGFENCE_REDIS_USERNAME and "
            "RINGFENCE_REDIS_PASSWORD"
        )
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/\d{1,5}", parts.path):
        return f'must end with the number of a database, "/0", not "{parts.path}"'
    return None


def maybe_proxies_url(text: str) -> str | None:
    """The address of the proxies' Redis without a secret in it, or nothing."""
    wrong = redis_url(text) if text else None
    return wrong and wrong.replace("RINGFENCE_REDIS_", "RINGFENCE_PROXIES_REDIS_")


def tls_files(ca_file: str, cert_file: str, key_file: str) -> list[Problem]:
    """Return the faults in the files of a TLS client or server, each with its key."""
    files = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
    found = [
        Problem((name,), f'names no file: "{path}"')
        for name, path in files.items()
        if path and not Path(path).is_file()
    ]
    if bool(cert_file) != bool(key_file):
        name = "key_file" if cert_file else "cert_file"
        found.append(Problem((name,), "is missing: cert_file and key_file go together"))
    return found


def redis_access(
    url: str, ca_file: str, cert_file: str, key_file: str, sentinel_tls: bool
) -> list[Problem]:
    """The same of a Redis: files of TLS for an address without it would protect nothing."""
    if (ca_file or cert_file) and not (url.startswith("rediss://") or sentinel_tls):
        return [Problem(("url",), "must begin with rediss://, as ca_file or cert_file is given")]
    return tls_files(ca_file, cert_file, key_file)


def sentinels(addresses: Sequence[str], master: str, url: str) -> list[Problem]:
    """Return the faults in the settings of Redis Sentinel."""
    found = []
    if addresses and not master:
        text = "is needed beside sentinels: the name in `sentinel monitor`"
        found.append(Problem(("sentinel_master",), text))
    if master and not addresses:
        found.append(
            Problem(("sentinels",), "are needed beside sentinel_master: host:port of each")
        )
    if addresses and not url.startswith(("redis://", "rediss://")):
        text = "must begin with redis:// or rediss:// beside sentinels, which name its host"
        found.append(Problem(("url",), text))
    return found


def list_name(text: str) -> str | None:
    """A list's name: of one that may be there already."""
    return None if names.readable(text) else names.wrong(names.NameKind.LIST, text)


_RESERVED = re.compile(
    r"(?<![\w.-])(?:[\w-]+\.)*(?:example\.(?:org|com|net)|[\w-]+\.(?:example|invalid))(?![\w-]|\.\w)",
    re.IGNORECASE,
)
"""Names that RFC 2606 reserves for examples: they have no contact."""
_DRAFTED = re.compile(r"example\.(?:org|com|net)\Z", re.IGNORECASE)
NOBODY = "XX"
"""No country: what `feeds detect` writes where the operator has to say whose a list is."""


def reserved_host(text: str) -> str:
    """The name in an address that is reserved for examples; "": there is none."""
    found = _RESERVED.search(text[:_ADDRESS_MAX])
    return found[0] if found is not None else ""


def somebodys_list(text: str) -> str | None:
    """A list's name that a person wrote, not the one of a draft."""
    if text.partition("/")[0] != NOBODY:
        return list_name(text)
    return f'"{text}" was left open: write the list that the feed fills, for example "TH/national"'


def somebody(text: str) -> str | None:
    """An owner's name that a person wrote, not the one of a draft."""
    if text.strip() != NOBODY:
        return filled(text)
    return f'"{NOBODY}" was left open: write the country or organisation whose list it is'


def contact(text: str) -> str | None:
    """The contact for a number: not the address of a draft."""
    if _DRAFTED.search(reserved_host(text)):
        return f'"{text}" was left open: write whom to ask about a number on the list'
    return filled(text)


def rule(text: str) -> str | None:
    """A plausibility rule's name."""
    if text in RULES:
        return None
    near = get_close_matches(text, RULES, 1, 0.6)
    return f"is no rule; did you mean {near[0]}?" if near else f"is no rule of {', '.join(RULES)}"


def variable(text: str) -> str | None:
    """An environment variable's name."""
    if re.fullmatch(r"[A-Z_][A-Z0-9_]*", text):
        return None
    return "must be the name of an environment variable (capitals), never the key itself"


def short(text: str) -> str | None:
    """A number of an emergency service."""
    return None if re.fullmatch(r"[0-9*#]{2,8}", text) else f'must be a short number, not "{text}"'


def host(text: str) -> str | None:
    """A name of DNS."""
    if re.fullmatch(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", text):
        return None
    return f'must be a DNS name such as "ringfence.carrier.example", not "{text}"'


def header(text: str) -> str | None:
    """An HTTP header's name."""
    return None if re.fullmatch(r"[A-Za-z0-9-]{1,64}", text) else f'is no header: "{text}"'


def aws_region(text: str) -> str | None:
    """A region of AWS."""
    *place, number = text.split("-")
    # It becomes part of a host's name.
    if len(place) > 1 and all(re.fullmatch(r"[a-z]+", one) for one in place) and number.isdecimal():
        return None
    return 'must be a region of AWS, as "ap-southeast-1"'


def web_url(text: str) -> str | None:
    """An address on the web without a secret before the host."""
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right:
        return "must be an address, https://..."
    if parts.username or parts.password:
        return "must hold no user and password; name them in its login table"
    return None


def process_url(text: str) -> str | None:
    """The address of a process of ours that has `/metrics`: host and port alone."""
    if wrong := web_url(text):
        return wrong
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or parts.fragment:
        return f'must end after the port, like http://10.0.0.5:9464, not "{text}"'
    return None


def number_or_prefix(text: str) -> str | None:
    """A number in E.164, or a prefix of numbers."""
    if re.fullmatch(r"\+[1-9][0-9]{2,14}\*?", text):
        return None
    return f'must be a number (+66812345678) or a prefix (+6621234*), not "{text}"'


def span(text: str) -> str | None:
    """A span of time."""
    if seconds_of(text):
        return None
    return f'must be a span of time like 10d, 12h or 30m, not "{text}"'


def wait(text: str) -> str | None:
    """A wait, also below a second."""
    if wait_of(text):
        return None
    return f'must be a span of time like 15m, 5s or 200ms (at least 50ms), not "{text}"'


def feed_name(text: str) -> str | None:
    """A feed's name, which is its file's, a source's and a label."""
    return names.wrong(names.NameKind.ID, text)


def circle_name(text: str) -> str | None:
    """A circle's name, which is its key's file's."""
    return names.wrong(names.NameKind.CIRCLE, text)
