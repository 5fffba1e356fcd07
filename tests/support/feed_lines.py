"""Lines of texts for tests of formats, without the bytes of a file."""

from collections.abc import Iterable, Iterator

from stream.feeds.formats.rows import LINE_CHARS_MAX, Lines


def line_chunks(texts: Iterable[str]) -> Iterator[Lines]:
    """Yield lines from pieces of text whose lines end in a line feed; cut too long ones."""
    carry = ""
    for text in texts:
        lines = (carry + text).split("\n")
        carry = lines.pop()[:LINE_CHARS_MAX]
        if lines:
            yield [line if len(line) <= LINE_CHARS_MAX else line[:LINE_CHARS_MAX] for line in lines]
    if carry:
        yield [carry]
