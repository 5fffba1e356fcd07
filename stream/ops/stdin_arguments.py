"""A command's arguments by its stdin: everybody on the machine can read argv, for example by `ps`.

A service that runs one of our commands for a person names it in argv, so that an operator sees what
runs. It sends the rest by a pipe: phone numbers, reasons, the person's name.
"""

import json
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import BinaryIO, Final

BY_STDIN: Final = "--arguments-by-stdin"
"""The last word of argv: more words come by stdin. For our own processes, so no help has it."""
_VERB: Final = re.compile(r"[a-z-]+")


def parted(words: Sequence[str]) -> tuple[list[str], bytes]:
    """Return a command's argv, and the bytes for its stdin."""
    # Digits never stand in the name of a command, and always in a number.
    named = [*takewhile(_VERB.fullmatch, words)]
    return [*named, BY_STDIN], json.dumps(words[len(named) :]).encode()


def joined(argv: Sequence[str], stdin: BinaryIO) -> list[str]:
    """Return all words of a command: argv, and those that `parted` sent if argv says so."""
    if not argv or argv[-1] != BY_STDIN:
        return [*argv]
    more: list[str] = json.loads(stdin.read())
    return [*argv[:-1], *more]
