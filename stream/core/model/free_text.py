"""Texts that people write: reasons, comments, contacts. One rule for every way they come in. Pure.

They stay in Redis and Kafka for years, and are shown on terminals and pages to those who decide. A
control character there moves a cursor or hides a line. A change of the writing direction shows
another text than is stored.
"""

import unicodedata
from typing import Final

REASON_CHARS_MAX: Final = 500
ACTOR_CHARS_MAX: Final = 200
SOURCE_CHARS_MAX: Final = 64
"""Characters of each. They are kept in every entry of the audit. A reason is a few sentences, an
actor a name and an address, a source one of the 65,536 names of a list's table."""
_CATEGORIES: Final = frozenset({"Cc", "Cs"})
"""Control characters, and halves of surrogate pairs, which no UTF-8 can hold."""
_DIRECTION: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Overrides of the writing direction. What joins or parts letters (Cf) is left: Khmer needs it."""


def line_of(text: str, what: str, most: int) -> str:
    """`text` on one line, blanks and line ends as one space each. `what` names it: `the reason`.

    Raises ValueError that says what is wrong and where, without the text.
    """
    line = " ".join(text.split())
    if len(line) > most:
        raise ValueError(f"{what} has {len(line):,} characters; at most {most} are kept")
    for place, char in enumerate(line, 1):
        if _is_refused(char):
            raise ValueError(
                f"{what} has a character that is not to be seen (U+{ord(char):04X}, at {place}): "
                "write it without"
            )
    return line


def cleaned(text: str) -> str:
    """`text` with a mark in the place of each character that `line_of` refuses; never fails."""
    if text.isprintable():
        return text
    return "".join("\ufffd" if _is_refused(char) else char for char in text.replace("\n", " "))


def _is_refused(char: str) -> bool:
    return char in _DIRECTION or unicodedata.category(char) in _CATEGORIES
