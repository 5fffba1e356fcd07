"""Key fields of a batch of calls as columns: scanned where they lie, no object made for a record.

Only what the scan cannot vouch for is left to the fallback decoder, one by one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import FIELDS, SIGNED, Constants, KeyFields, Located
from stream.calls.decode_one import FIELD_LENGTH_MAX, SegmentDecoder
from stream.calls.dialects.dialect import PARTS, REQUIRED, CellLayout, FieldLayout, Step
from stream.calls.dialects.json_form import DEPTH_MAX
from stream.calls.settings import DecodeSettings
from stream.core.model.byte_strings import PADDING, Texts
from stream.kafka.batch import RawBatch

if TYPE_CHECKING:
    from stream.core.kernels.csv_scan import CellPlan
    from stream.core.kernels.json_fields import FieldPlan, FoundFields

_TRUNK = FIELDS.index("trunk")
_CHANNEL_BYTES_MAX = PADDING
"""A channel with a longer name is left to the fallback decoder; so many bytes are readable behind
the last text."""


def locate(
    raw: RawBatch, parts: Sequence[SegmentDecoder], settings: DecodeSettings
) -> tuple[Located, NDArray[np.int64]]:
    """Return where the fields of the calls in `raw` lie, and the row of each call.

    What is no call is left in the `rejected` of its part.
    """
    from stream.core.kernels.json_fields import FoundFields

    count = len(raw)
    texts = raw.texts()
    layouts = [part.dialect.layout for part in parts]
    columns = (*FIELDS, *SIGNED) if settings.attestation else FIELDS
    # Rows after those of the fields: what else a layout asks for.
    width = len(columns)
    height = width + max(len(_others(layout)) for layout in layouts)
    # Until a scan says otherwise, every record is odd and has no field: so are those of a segment
    # whose dialect has no layout.
    found = FoundFields(
        np.full((height, count), 0, np.int64),
        np.full((height, count), -1, np.int64),
        np.ones(count, np.uint8),
    )
    odd_parts, in_parts = [], False
    for part in parts:
        layout = part.dialect.layout
        odd = part.stop - part.start
        if layout:
            odd = _scanned(texts, part, layout, columns, settings, found)
            if layout.only or layout.channels:
                odd = _looked_at(texts, part, layout, found, width)
            if layout.empty_is_absent:
                optional = found.sizes[_TRUNK:width, part.start : part.stop]
                optional[optional == 0] = -1
            in_parts |= isinstance(layout, FieldLayout) and layout.in_parts
        if odd:
            odd_parts.append(part)
    data = texts.data
    if in_parts:
        data = _written(data, parts, found, width)
        odd_parts = [part for part in parts if found.odd[part.start : part.stop].any()]
    rows = np.arange(count)
    if not odd_parts:
        starts, sizes = found.starts[:width], found.sizes[:width]
        return Located(data, starts, sizes, {}, _constants(parts, rows)), rows
    key_fields = _read_odd(odd_parts, found.odd)
    kept = found.odd == 0
    kept[list(key_fields)] = True
    rows = np.flatnonzero(kept)
    indexes = (np.cumsum(kept) - 1)[list(key_fields)].tolist()
    located = Located(
        data,
        found.starts[:width].take(rows, 1),
        found.sizes[:width].take(rows, 1),
        dict(zip(indexes, key_fields.values(), strict=True)),
        _constants(parts, rows),
    )
    return located, rows


def _scanned(
    texts: Texts,
    part: SegmentDecoder,
    layout: FieldLayout | CellLayout,
    columns: tuple[str, ...],
    settings: DecodeSettings,
    found: "FoundFields",
) -> int:
    """Scan the records of a part; return how many are left to the fallback decoder."""
    from stream.core.kernels.csv_scan import scan_cells
    from stream.core.kernels.json_scan import leave_doubtful, scan

    share = texts, part.start, part.stop
    limit = settings.record_bytes_max
    if isinstance(layout, CellLayout):
        # No field of a record that is so short can be too long.
        limit = min(limit, FIELD_LENGTH_MAX)
        return scan_cells(*share, cell_plan_of(layout, columns), limit, DEPTH_MAX, found)
    plan = plan_of(layout, columns)
    if plan is None:
        return part.stop - part.start
    if layout.in_parts:
        # No id that is written of two members can be too long.
        limit = min(limit, FIELD_LENGTH_MAX)
    odd = scan(*share, plan, limit, FIELD_LENGTH_MAX, found)
    if layout.parties_elsewhere:
        encoded = sum(1 << columns.index(field) for field in layout.encoded if field in columns)
        odd = leave_doubtful(texts.data, *found, part.start, part.stop, encoded)
    return odd


def _written(
    data: NDArray[np.uint8], parts: Sequence[SegmentDecoder], found: "FoundFields", width: int
) -> NDArray[np.uint8]:
    """Write the fields of a batch, in which some are in parts, into a buffer; return it.

    Records whose parts are not as usual are odd then.
    """
    from stream.core.kernels.charging_fields import NO_PARTS, ROW_BYTES_MAX, PartRows, write_fields

    most = int(np.maximum(found.sizes, 0).sum()) + ROW_BYTES_MAX * len(found.odd)
    out, at = np.empty(most + PADDING, np.uint8), 0
    for part in parts:
        layout = part.dialect.layout
        is_in_parts = isinstance(layout, FieldLayout) and layout.in_parts
        rows = PartRows(*range(width, width + len(PARTS))) if is_in_parts else NO_PARTS
        at = write_fields(data, found, part.start, part.stop, width, rows, out, at)
    return out


def _looked_at(
    texts: Texts,
    part: SegmentDecoder,
    layout: FieldLayout | CellLayout,
    found: "FoundFields",
    only: int,
) -> int:
    """Leave records that may be none to the fallback decoder; return how many are left now.

    `only` is the row of what a record says it is.
    """
    rows = slice(part.start, part.stop)
    starts, sizes, odd = found.starts[:, rows], found.sizes[:, rows], found.odd[rows]
    if layout.only is not None:
        said = Texts(texts.data, starts[only], sizes[only])
        other = said.places_in(layout.only.allowed) < 0
        if layout.only.may_be_absent:
            other &= sizes[only] >= 0
        odd |= other
    if layout.channels:
        odd |= sizes[_TRUNK] > _CHANNEL_BYTES_MAX
        _cut_channels(texts.data, starts[_TRUNK], sizes[_TRUNK])
    # Values found in records that are now left to the fallback decoder must not count as their
    # fields.
    starts[:, odd != 0] = 0
    sizes[:, odd != 0] = -1
    return int(np.count_nonzero(odd))


def _cut_channels(
    data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> None:
    """Leave of each channel's name the trunk in it, as `fields.trunk_of` does."""
    width = min(int(sizes.max(initial=0)), _CHANNEL_BYTES_MAX)
    if width <= 0:
        return
    places = np.arange(width)
    # A window at every byte is a view; only those at `starts` are copied, and may be written to.
    letters = np.lib.stride_tricks.sliding_window_view(data, width)[starts]
    letters[places >= sizes[:, None]] = 0
    slashes = letters == ord("/")
    begin = np.where(slashes.any(axis=1), slashes.argmax(axis=1) + 1, 0)
    dashes = (letters == ord("-")) & (places >= begin[:, None])
    last = width - 1 - dashes[:, ::-1].argmax(axis=1)
    end = np.where(dashes.any(axis=1), last, sizes)
    is_there = sizes >= 0
    starts += np.where(is_there, begin, 0)
    sizes[is_there] = (end - begin)[is_there]


def _read_odd(parts: Sequence[SegmentDecoder], odd: NDArray[np.uint8]) -> dict[int, KeyFields]:
    """Read the calls in rows that the scan left, by row."""
    key_fields: dict[int, KeyFields] = {}
    for part in parts:
        part.read((np.flatnonzero(odd[part.start : part.stop]) + part.start).tolist())
        key_fields.update(zip(part.rows, part.key_fields, strict=True))
    return key_fields


def _constants(parts: Sequence[SegmentDecoder], rows: NDArray[np.int64]) -> tuple[Constants, ...]:
    """Return the constants of each part's dialect, by the calls that they hold for."""
    layouts = [part.dialect.layout for part in parts]
    if not any(layout and layout.constants for layout in layouts):
        return ()
    stops = np.searchsorted(rows, [part.stop for part in parts]).tolist()
    return tuple(
        Constants(stop, dict(layout.constants) if layout else {})
        for layout, stop in zip(layouts, stops, strict=True)
    )


def _others(layout: FieldLayout | CellLayout | None) -> tuple[str, ...]:
    """Return what a layout asks for besides the fields: parts of them, or what a record is."""
    if isinstance(layout, FieldLayout) and layout.in_parts:
        return PARTS
    return ("only",) if layout is not None and layout.only is not None else ()


def _located(
    layout: FieldLayout, wanted: tuple[str, ...]
) -> tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]:
    """Return what the scan looks for, by steps: `wanted`, and what a layout asks for besides."""
    paths = tuple(each for each in layout.paths if each[0] in wanted)
    if layout.only is not None:
        paths += (("only", layout.only.path),)
    return tuple((field, tuple(map(_keys, path))) for field, path in paths)


def _keys(step: Step) -> tuple[str, ...]:
    return (step,) if isinstance(step, str) else step


@lru_cache(maxsize=64)
def plan_of(layout: FieldLayout, wanted: tuple[str, ...] = FIELDS) -> "FieldPlan | None":
    """Compile the layout for the kernel; None: it has too many keys, or too long ones.

    `wanted` are the columns: `FIELDS`, perhaps followed by `SIGNED`.
    """
    from stream.core.kernels.json_fields import NAME_BYTES_MAX, NAMES_MAX, FieldPlan

    columns = {field: index for index, field in enumerate((*wanted, *_others(layout)))}
    looked_for = _located(layout, tuple(columns))
    names = sorted({key.encode() for _, path in looked_for for step in path for key in step})
    if len(names) > NAMES_MAX or max(map(len, names)) > NAME_BYTES_MAX:
        return None
    nodes: list[dict[bytes, int]] = [{}]
    lists, watched, choices = 0, set[bytes](), set[bytes]()
    for field, path in looked_for:
        node = nodes[0]
        *parents, last = ([key.encode() for key in step] for step in path)
        for keys in parents:
            if keys[0] not in node:
                node.update(dict.fromkeys(keys, len(nodes)))
                lists |= (keys[0].decode() in layout.lists) << len(nodes)
                nodes.append({})
            node = nodes[node[keys[0]]]
        node.update(dict.fromkeys(last, -columns[field] - 1))
        if layout.in_parts:
            choices.update(key.encode() for key in path[0])
        elif field in REQUIRED:
            watched.update(key for keys in (*parents, last) for key in keys)
    nodes.append({})
    # What is written of parts may be absent, null or an integer; `charging_fields` looks at it.
    required = () if layout.in_parts else REQUIRED
    located = {field for field, _ in looked_for} - set(required[:1])
    whole = ("call_id", "caller", "callee", "trunk", *PARTS[1:7]) if layout.in_parts else ()

    def bits(items: Sequence[Any], chosen: Any) -> int:
        return sum(1 << place for place, item in enumerate(items) if item in chosen)

    return FieldPlan(
        np.frombuffer(
            bytearray(b"".join(name.ljust(NAME_BYTES_MAX, b"\0") for name in names)), np.uint8
        ),
        np.array([len(name) for name in names]),
        np.array([node.get(name, 0) for node in nodes for name in names]),
        len(nodes),
        np.uint64(bits(names, watched | choices)),
        bits(wanted, required),
        bits(list(columns), located),
        lists,
        np.uint64(bits(names, choices)),
        bits(list(columns), whole),
        layout.in_parts,
    )


@lru_cache(maxsize=64)
def cell_plan_of(layout: CellLayout, wanted: tuple[str, ...] = FIELDS) -> "CellPlan":
    """Put the layout in the form of the kernel, for the columns in `wanted`."""
    from stream.core.kernels.csv_scan import CellPlan
    from stream.core.kernels.json_fields import NAME_BYTES_MAX

    words = [word.encode() for word in layout.words]
    places = dict(layout.columns)
    assert max(map(len, words)) <= NAME_BYTES_MAX
    return CellPlan(
        np.array([places.get(field, -1) for field in wanted]),
        np.frombuffer(bytearray(b"".join(word.ljust(NAME_BYTES_MAX) for word in words)), np.uint8),
        np.array([len(word) for word in words]),
        layout.columns_min,
        layout.started_at,
        layout.sure,
        layout.id_bytes_min,
        layout.linked_from,
    )
