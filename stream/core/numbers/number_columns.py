"""Numbers from columns of bytes, as `number.parse` reads them. Only with compiled kernels."""

from collections.abc import Callable, Mapping

import numpy as np

from stream.core.model.byte_strings import Texts
from stream.core.numbers.number import Kind, Numbers, ReadNumber, parse, parse_many


def parse_texts(
    texts: Texts,
    odd: Mapping[int, str | None],
    region_of: Callable[[int], str | None],
    prefix_of: Callable[[int], str] | None = None,
    read: ReadNumber = parse,
) -> Numbers:
    """`parse` for a column of ASCII: a kernel reads E.164 and usual URIs, others one by one.

    `odd` has the texts of rows that have none in the column. `region_of` gives the region of a
    row's trunk, `prefix_of` its prefix (None: no trunk has one); they are asked only for texts that
    are read one by one, by `read`.
    """
    from stream.core.kernels.e164_text import read_e164

    e164, kinds = read_e164(texts)
    if np.all(kinds):
        return Numbers(e164, kinds)
    none = np.flatnonzero(texts.sizes < 0)
    kinds[none] = Kind.ANONYMOUS
    other_texts = dict.fromkeys(none.tolist(), parse(None, None).text)
    left = np.flatnonzero(kinds == Kind.INVALID)
    data: memoryview = texts.data.data
    others: dict[int, str | None] = {
        row: str(data[start : start + size], "ascii")
        for row, start, size in zip(
            left.tolist(), texts.starts[left].tolist(), texts.sizes[left].tolist(), strict=True
        )
    }
    others.update(odd)
    rows = np.fromiter(others, np.int64, len(others))
    found = parse_many(
        list(others.values()),
        lambda index: region_of(rows.item(index)),
        (lambda index: prefix_of(rows.item(index))) if prefix_of else None,
        read,
    )
    e164[rows], kinds[rows] = found.e164, found.kinds
    for row in odd:
        other_texts.pop(row, None)
    other_texts.update((rows.item(index), text) for index, text in found.other_texts.items())
    disguised = {rows.item(index) for index in found.disguised}
    return Numbers(e164, kinds, other_texts, disguised=disguised)
