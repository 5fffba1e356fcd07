"""Details of audit entries that feeds wrote, as words for a person."""

import msgspec

from stream.core.model.errors import UNREADABLE

FEED_FORGOTTEN = "feed_forgotten"
"""The audit's word for a feed of which nothing is remembered any more."""


def told_of_version(detail: str) -> str:
    """The same for a person to read; what is no such detail stands for itself."""
    try:
        said = msgspec.json.decode(detail, type=_Told)
    except UNREADABLE:
        return detail
    words = [f"version {said.version}"] if said.version else []
    if said.gained or said.lost or said.updated:
        words.append(f"+{said.gained:,} -{said.lost:,} numbers, {said.updated:,} updated")
    return "; ".join([*words, *said.findings])


class _Told(msgspec.Struct, frozen=True):
    """What of `_detail` is told again."""

    version: str = ""
    gained: int = 0
    lost: int = 0
    updated: int = 0
    findings: tuple[str, ...] = ()
