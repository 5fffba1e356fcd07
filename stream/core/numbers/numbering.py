"""Tables of the world's numbering plans, from the metadata of Google's libphonenumber.

They are data, in `numbering.json` beside this module: tests/tools/make_numbering.py writes it from
the `phonenumbers` package, and a test compares both. They are read when first asked for (4 ms), so
a command that reads no number does not pay for them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec


class NumberingPlan(NamedTuple):
    """The shape of one country code's numbers.

    `lengths` are how many digits they may have, country code included, at most 15. The digits after
    the country code may begin with one of `trunk_prefixes`. Such a number may hold a trunk or
    carrier prefix that no international number has (`+66 0 81...`), and only `phonenumbers` can
    read it.
    """

    code: int
    lengths: tuple[int, ...]
    trunk_prefixes: tuple[str, ...]


class AssignedBlocks(NamedTuple):
    """The blocks in which a plan has given out numbers of one length, country code included.

    `begins` are the digits after the country code, at most 4, of which all such numbers begin with
    one. A range has the first and the last (`2012-2019`). Nothing is known of the numbers of a
    country code without blocks.
    """

    code: int
    digits: int
    begins: tuple[str, ...]


class NumberingTables(msgspec.Struct, frozen=True):
    """All tables; `emergency` has by region (ISO 3166) the numbers dialled for help there."""

    source: str
    plans: Sequence[NumberingPlan]
    blocks: Sequence[AssignedBlocks]
    emergency: Mapping[str, tuple[str, ...]]


@cache
def tables() -> NumberingTables:
    """Return the tables, which are read once a process."""
    data = files("stream.core.numbers").joinpath("numbering.json").read_bytes()
    return msgspec.json.decode(data, type=NumberingTables)
