"""Numbers from columns of bytes, as `number.parse` reads them. Only with compiled kernels."""

from collections.abc import Callable, Mapping

import numpy as np

from stream.core.number import Kind, Numbers, parse, parse_many
from stream.core.texts import Texts


def parse_texts(
    texts: Texts,
    odd: Mapping[int, str | None],
    region_of: Callable[[int], str | None],
    prefix_of: Callable[[int], str] | None = None,
) -> Numbers:
    """`parse` for a column of ASCII: a kernel reads E.164 and usual URIs, others one by one.

    `odd` has the texts of rows that have none in the column. `region_of` gives the region of a
    row's trunk, `prefix_of` its prefix (None: no trunk has one); they are asked only for texts that
    are read one by one.
    """
    from stream.core.kernels.numbers import read_e164

    e164, kinds = read_e164(texts)
    if np.all(kinds):
        return Numbers(e164, kinds)
    none = np.flatnonzero(texts.sizes < 0)
    kinds[none] = Kind.ANONYMOUS
    other_texts = dict.fromkeys(none.tolist(), parse(None, None).text)
    left = np.flatnonzero(kinds == Kind.INVALID)
    data: memoryview = texts.data.data
    for row, start, size in zip(
        left.tolist(), texts.starts[left].tolist(), texts.sizes[left].tolist(), strict=True
    ):
        text = str(data[start : start + size], "ascii")
        number = parse(text, region_of(row), prefix_of(row) if prefix_of else "")
        kinds[row] = number.kind
        if number.kind is Kind.E164:
            e164[row] = number.text
        else:
            other_texts[row] = number.text
    if odd:
        rows = np.fromiter(odd, np.int64, len(odd))
        read = parse_many(
            list(odd.values()),
            lambda index: region_of(rows.item(index)),
            (lambda index: prefix_of(rows.item(index))) if prefix_of else None,
        )
        e164[rows], kinds[rows] = read.e164, read.kinds
        for row in odd:
            other_texts.pop(row, None)
        other_texts.update((rows.item(index), text) for index, text in read.other_texts.items())
    return Numbers(e164, kinds, other_texts)
