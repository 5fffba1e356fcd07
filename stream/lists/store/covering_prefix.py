"""Which prefix on a list still speaks for a number that is not, or no more, on it itself."""

from collections.abc import Sequence

import numpy as np

from stream.core.filters.digests import Digests, elements
from stream.core.model.entry import Category
from stream.core.numbers.prefix_entries import is_prefix
from stream.lists.store.list_store import Register


def fingerprints_of(texts: Sequence[str], key: bytes) -> list[int]:
    """The fingerprints of numbers and prefixes in the circle with `key`."""
    column = np.array([text.encode() for text in texts], "S16")
    found: list[int] = Digests(elements(column, key)).fingerprints().tolist() if texts else []
    return found


async def covering(
    register: Register, name: str, key: bytes, texts: Sequence[str], now_s: int
) -> dict[str, str]:
    """Of those `texts` that lie under a prefix on list `name`, the one that speaks for them.

    Live at `now_s`, the longest, and not one that only says that its numbers are legitimate.
    """
    shorter = {text: _shorter(text) for text in texts}
    asked = sorted({prefix for prefixes in shorter.values() for prefix in prefixes})
    fingerprints = dict(zip(asked, fingerprints_of(asked, key), strict=True))
    reports = await register.reports(name, list(fingerprints.values()))
    live = {
        prefix: [report for report in reports[fingerprint] if report.live(now_s)]
        for prefix, fingerprint in fingerprints.items()
    }
    found: dict[str, str] = {}
    for text, prefixes in shorter.items():
        speaks = next((prefix for prefix in prefixes if live[prefix]), None)
        if speaks and any(r.category is not Category.LEGITIMATE for r in live[speaks]):
            found[text] = speaks
    return found


def _shorter(text: str) -> list[str]:
    """Every prefix that holds what `text` stands for, longest first; `text` itself not among it."""
    digits = text[1:].removesuffix("*")
    longest = min(len(digits) - is_prefix(text), 14)
    return [f"+{digits[:length]}*" for length in range(longest, 1, -1)]
