"""Names of lists, owners and keys: one rule, whichever way they come in. Pure.

Names are folders, Redis keys, labels of metrics, words of a command line and roles that sign. A
name that begins with a dash is an option there, `..` is another folder. `kh/scam` beside `KH/scam`
is two lists, of which a person corrects the wrong one.

`wrong` judges a name that is new. A name that is read (a list store, a partner's manifest) need
only be `readable`. It was made earlier or elsewhere, and must not be lost for its name.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Of a list's name, an owner or a list: nothing that could lead out of a folder."""
READABLE_PART: Final = rf"^{PART}\Z"
READABLE_LIST: Final = rf"^{PART}/{PART}\Z"
_OWNER: Final = r"(?:[A-Z]{2}|[A-Za-z][A-Za-z0-9-]{2,39})"


class NameKind(StrEnum):
    """Things that have a name."""

    LIST = "list"
    OWNER = "owner"
    ID = "id"
    """A feed, an agreement, an endpoint: the name of a file, and a label."""
    CIRCLE = "circle"
    KEY = "key"
    """One that signs."""
    CLIENT = "client"
    """A holder of a token."""


_LIST_IS: Final = (
    'names no list; a list is "<owner>/<name>", e.g. "TH/national": a country in two capitals '
    'or an organisation, then letters, digits, ".", "_", "-", at most 64'
)
_OWNER_IS: Final = (
    'must be a country in two capitals (TH) or an organisation (ITU): letters, digits, "-", 3 to 40'
)
_RULES: Final[Mapping[NameKind, tuple["re.Pattern[str]", str]]] = {
    NameKind.LIST: (re.compile(rf"{_OWNER}/{PART}"), _LIST_IS),
    NameKind.OWNER: (re.compile(_OWNER), _OWNER_IS),
    NameKind.ID: (
        re.compile(r"[a-z0-9][a-z0-9-]{0,39}"),
        'must be named by small letters, digits and "-", at most 40',
    ),
    NameKind.CIRCLE: (
        re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}(?:@[1-9][0-9]{0,4})?"),
        'is no name for a circle: small letters, digits, "-", "_", ".", at most 32, e.g. asean',
    ),
    NameKind.KEY: (
        re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,63}"),
        'is no name for a key: letters, digits, ".", "_", "-", "~", at most 64',
    ),
    NameKind.CLIENT: (
        re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}"),
        "must be letters, digits, dot, - and _, at most 40, with a letter or digit first",
    ),
}
_SIGNS: Final = frozenset({"root", "targets", "snapshot", "timestamp"})
"""Roles of every TUF repository: an owner of that name would sign for all."""


def wrong(kind: NameKind, name: str) -> str | None:
    """Return why a new name is refused, as the end of a sentence; None: it may be used."""
    pattern, text = _RULES[kind]
    if pattern.fullmatch(name):
        owner = name.partition("/")[0]
        if kind in {NameKind.LIST, NameKind.OWNER} and owner.lower() in _SIGNS:
            return f'has the name of a role that signs for all: "{owner}"'
        return None
    said = f'{text}, not "{_shown(name)}"'
    capitals = _with_capitals(kind, name)
    return f'{said}; did you mean "{capitals}"?' if capitals else said


def readable(name: str) -> bool:
    """Return whether a list that is there already may be called so: it leads nowhere."""
    return re.fullmatch(READABLE_LIST, name) is not None


def alike(name: str, others: Iterable[str]) -> str | None:
    """One of `others` that is `name` but for capitals; None: there is none."""
    folded = name.casefold()
    return next((one for one in others if one != name and one.casefold() == folded), None)


def _with_capitals(kind: NameKind, name: str) -> str:
    """Return the same with a country's capitals, if that is all that is wrong; else ""."""
    owner, slash, rest = name.partition("/")
    better = f"{owner.upper()}{slash}{rest}"
    is_it = len(owner) == 2 and better != name and _RULES[kind][0].fullmatch(better)
    return better if is_it else ""


def _shown(name: str) -> str:
    cut = name if len(name) <= 80 else f"{name[:80]}..."
    return "".join(char if char.isprintable() else "?" for char in cut)
