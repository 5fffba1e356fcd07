"""Words for categories that a format itself defines."""

from collections.abc import Mapping

from stream.core.model.entry import Category
from stream.feeds.formats import ftc, phoneblock, stix
from stream.feeds.formats.rows import Format

_WORDS: Mapping[Format, Mapping[str, Category]] = {
    "stix": stix.WORDS,
    "phoneblock": phoneblock.WORDS,
    "ftc": ftc.WORDS,
}


def words_of(kind: Format) -> Mapping[str, Category]:
    """Return the words for categories that the format itself defines, for `Parser`."""
    return _WORDS.get(kind, {})
