"""The fields of a batch of calls as columns: scanned where they lie, no object made for a record.

Only what the scan can not vouch for is read the ordinary way, one by one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream.calls.batch import FIELDS, Constants, Glance, Located, RawBatch
from stream.calls.dialects.dialect import REQUIRED, Layout
from stream.calls.one_by_one import FIELD_LENGTH_MAX, DecodeSettings, Part

if TYPE_CHECKING:
    from stream.core.kernels.json_fields import Plan

_OPTIONAL = slice(FIELDS.index("trunk"), FIELDS.index("ingress") + 1)


def locate(
    raw: RawBatch, parts: Sequence[Part], settings: DecodeSettings
) -> tuple[Located, NDArray[np.int64]]:
    """Where the fields of the calls in `raw` lie, and the row of each call.

    What is no call is left in the `rejected` of its part.
    """
    from stream.core.kernels.json_fields import Found
    from stream.core.kernels.scan import scan

    count = len(raw)
    texts = raw.texts()
    found = Found(
        np.full((len(FIELDS), count), 0, np.int64),
        np.full((len(FIELDS), count), -1, np.int64),
        np.ones(count, np.uint8),
    )
    odd_parts = []
    for part in parts:
        layout = part.dialect.layout
        plan = plan_of(layout) if layout else None
        odd = part.stop - part.start
        if layout and plan:
            limits = settings.record_bytes_max, FIELD_LENGTH_MAX
            odd = scan(texts, part.start, part.stop, plan, *limits, found)
            if layout.empty_is_absent:
                optional = found.sizes[_OPTIONAL, part.start : part.stop]
                optional[optional == 0] = -1
        if odd:
            odd_parts.append(part)
    rows = np.arange(count)
    if not odd_parts:
        return Located(texts.data, found.starts, found.sizes, {}, _constants(parts, rows)), rows
    glances = _read_odd(odd_parts, found.odd)
    kept = found.odd == 0
    kept[list(glances)] = True
    rows = np.flatnonzero(kept)
    indexes = (np.cumsum(kept) - 1)[list(glances)].tolist()
    located = Located(
        texts.data,
        found.starts.take(rows, 1),
        found.sizes.take(rows, 1),
        dict(zip(indexes, glances.values(), strict=True)),
        _constants(parts, rows),
    )
    return located, rows


def _read_odd(parts: Sequence[Part], odd: NDArray[np.uint8]) -> dict[int, Glance]:
    """The calls that the ordinary decoder finds in odd rows, by row."""
    glances: dict[int, Glance] = {}
    for part in parts:
        part.read((np.flatnonzero(odd[part.start : part.stop]) + part.start).tolist())
        glances.update(zip(part.rows, part.glances, strict=True))
    return glances


def _constants(parts: Sequence[Part], rows: NDArray[np.int64]) -> tuple[Constants, ...]:
    """The constants of each part's dialect, by the calls that they hold for."""
    layouts = [part.dialect.layout for part in parts]
    if not any(layout and layout.constants for layout in layouts):
        return ()
    stops = np.searchsorted(rows, [part.stop for part in parts]).tolist()
    return tuple(
        Constants(stop, dict(layout.constants) if layout else {})
        for layout, stop in zip(layouts, stops, strict=True)
    )


@lru_cache(maxsize=64)
def plan_of(layout: Layout) -> "Plan | None":
    """The layout as the kernel wants it; None: it has too many keys, or too long ones."""
    from stream.core.kernels.json_fields import NAME_BYTES_MAX, NAMES_MAX, Plan

    names = sorted({key.encode() for _, path in layout.paths for key in path})
    if len(names) > NAMES_MAX or max(map(len, names)) > NAME_BYTES_MAX:
        return None
    nodes: list[dict[bytes, int]] = [{}]
    for field, path in layout.paths:
        node = nodes[0]
        *parents, last = (key.encode() for key in path)
        for key in parents:
            if key not in node:
                node[key] = len(nodes)
                nodes.append({})
            node = nodes[node[key]]
        node[last] = -FIELDS.index(field) - 1
    nodes.append({})
    watched = {key.encode() for field, path in layout.paths if field in REQUIRED for key in path}
    located = [field for field, _ in layout.paths]

    def bits(items: Sequence[Any], chosen: Any) -> int:
        return sum(1 << place for place, item in enumerate(items) if item in chosen)

    return Plan(
        np.frombuffer(
            bytearray(b"".join(name.ljust(NAME_BYTES_MAX, b"\0") for name in names)), np.uint8
        ),
        np.array([len(name) for name in names]),
        np.array([node.get(name, 0) for node in nodes for name in names]),
        len(nodes),
        np.uint64(bits(names, watched)),
        bits(FIELDS, REQUIRED),
        bits(FIELDS, set(located) - {"call_id"}),
    )
