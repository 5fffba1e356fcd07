"""Interpret the headers of an HTTP answer for a feed. Pure: the time is an argument.

Servers write anything there; what cannot be read is as if it were not there, and no wait that is
asked for is longer than a day, or one slip of a partner's hand would silence a feed for ever.
"""

import base64
import re
from binascii import Error as NotBase64
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

WAIT_S_MOST = 86_400.0
"""A server that asks for more would silence its feed: a daily look finds out."""
_SHA256 = re.compile(r"\bsha-256=:?([A-Za-z0-9+/]{43}=):?", re.IGNORECASE)
_MAX_AGE = re.compile(r'\bmax-age\s*=\s*"?(\d{1,10})', re.IGNORECASE)
_UNCACHED = re.compile(r"\bno-(?:cache|store)\b", re.IGNORECASE)


def date_s(text: str | None) -> int | None:
    """Return an HTTP date (RFC 9110 5.6.7) in seconds since the epoch."""
    try:
        date = parsedate_to_datetime(text or "")
        # Of the three forms one has no zone; all mean Greenwich.
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError):
        return None


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """Retry-After (RFC 9110 10.2.3), seconds or a date, in seconds from now."""
    text = (text or "").strip()
    if re.fullmatch(r"\d{1,12}", text):
        return min(float(text), WAIT_S_MOST)
    at_s = date_s(text)
    return None if at_s is None else min(max(0.0, at_s - now_s), WAIT_S_MOST)


def fresh_s(headers: Mapping[str, str]) -> float:
    """For how long an answer is said to stay true: Cache-Control's max-age less its Age."""
    control = headers.get("Cache-Control", "")
    found = _MAX_AGE.search(control)
    if found is None or _UNCACHED.search(control):
        return 0.0
    age = headers.get("Age", "")
    age_s = int(age) if re.fullmatch(r"\d{1,10}", age) else 0
    return min(max(0.0, float(int(found[1]) - age_s)), WAIT_S_MOST)


def digests(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 sums in the headers, hex by header: of the bytes as they come over the
    wire.

    Content-Digest and Repr-Digest (RFC 9530), and the Digest that was before them (RFC 3230).
    """
    sums = {}
    for name in ("Content-Digest", "Repr-Digest", "Digest"):
        found = _SHA256.search(headers.get(name, ""))
        if found is not None:
            try:
                sums[name] = base64.b64decode(found[1], validate=True).hex()
            except NotBase64:
                continue
    return sums


def length(headers: Mapping[str, str]) -> int | None:
    """Content-Length."""
    text = headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None
