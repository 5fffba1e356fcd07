"""One number a line; what follows a `#` is a comment, but for the open digits of `+33899######`."""

import re
from collections.abc import Iterable, Iterator

from stream.feeds.formats.byte_columns import numbers_of
from stream.feeds.formats.rows import Lines, Rows

_OPEN_DIGITS = re.compile(r"[^#]*\d##+(?=\s|\Z)")


def read(chunks: Iterable[Lines]) -> Iterator[Rows]:
    """The rows of a text file."""
    first = 1
    for chunk in chunks:
        plain = numbers_of(chunk)
        if plain is not None:
            places, column = plain
            yield Rows([first + place for place in places], column, column)
            first += len(chunk)
            continue
        lines, numbers = [], []
        for line, text in enumerate(chunk, first):
            pattern = _OPEN_DIGITS.match(text)
            number = (pattern[0] if pattern else text.partition("#")[0]).strip()
            if number:
                lines.append(line)
                numbers.append(number)
        yield Rows(lines, [chunk[line - first] for line in lines], numbers)
        first += len(chunk)
