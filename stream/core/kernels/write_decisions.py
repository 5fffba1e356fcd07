"""Many decisions as JSON at once, and their ids.

Text that decisions share comes as phrases, which `calls.encode` makes once. A decision is phrases
with numbers, record fields and times between them. The constants below are the places of phrases.
"""

from typing import Any

import numpy as np

from stream.core.kernels.bytes_out import copy16, put, put_decimal, put_time
from stream.core.kernels.jit import I64, U8, U64, inlined, kernel, reads, types, writes

# Phrases at the start of every list of phrases, then those at the start of a batch's own list.
OPEN, OF_CALLER, OF_CALLEE, CALLER, CALLEE, REASONS, NO_SIP, SIP = range(8)
NULL, CONFIRMED, UNCONFIRMED, GENERATION, REASON_EXPIRES, REASON_PREFIX = range(8, 14)
CATEGORIES = 14
DECIDED, ORIGINS = range(2)
LISTS = CATEGORIES + 256
"""Phrases from `CATEGORIES` on are one for each category's number, from `LISTS` on one a list."""

# Rows of `rulings`; the first two are phrases.
HEAD, TAIL, ROLE, CALLED_AT_MS, EXPIRES_AT_MS, FIRST_MATCH, LAST_MATCH, BLOCKS = range(8)
# Rows of `matches`.
LIST, IS_CONFIRMED, CATEGORY, CONFIDENCE, ENTRY_EXPIRES_AT_MS, PREFIX_DIGITS = range(6)
NO_TIME = -(1 << 62)

ID_SIZE = 13
_NUMBER_MAX = 18
"""Bytes of an E.164 number in quotation marks; more than `null`, which may take its place."""
_TIME_MAX = 26
"""Bytes of a time in quotation marks; more than `null`, which may take its place."""
_DECIMAL_MAX = 19
"""Digits of the largest int64."""
_SPARE = 64
"""Bytes after the room for decisions (see `byte_strings.PADDING`). Pieces are copied as whole
vectors, so up to 31 bytes after the last one are written."""
_LETTERS = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", np.uint8)
_QUOTE, _COMMA, _CLOSE, _PLUS, _ZERO, _STAR = (np.uint8(ord(one)) for one in '",}+0*')


def _columns(*items: Any) -> Any:
    """Return the type of arguments that belong together."""
    return types.Tuple(items)


@inlined
def _mixed(state: Any) -> Any:
    """Return `state` after the finaliser of SplitMix64."""
    state += np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@kernel(I64(reads(U64), reads(I64), reads(I64), reads(U64, 2), writes(U8, 2)), counted=False)
def identify(seeds: Any, offsets: Any, timestamps_ms: Any, numbers: Any, ids: Any) -> Any:
    """Fill `ids` uint8[n, 16] (`core.model.decision.decision_ids`); `numbers`: uint64[n, 2]."""
    for row in range(len(seeds)):
        state = _mixed(seeds[row] ^ np.uint64(offsets[row]))
        state = _mixed(state ^ np.uint64(timestamps_ms[row]))
        state = _mixed(state ^ numbers[row, 0])
        state = _mixed(state ^ numbers[row, 1])
        for letter in range(ID_SIZE):
            ids[row, letter] = _LETTERS[(state >> np.uint64(60 - 5 * letter)) & np.uint64(31)]
        ids[row, ID_SIZE:] = 0
    return len(seeds)


@kernel(
    I64(reads(U8), reads(I64), reads(I64), reads(I64), I64, writes(types.boolean)), counted=False
)
def find_long_numbers(
    data: Any, starts: Any, sizes: Any, wanted: Any, size_max: Any, found: Any
) -> Any:
    """Find those of the texts `wanted` that are `+` and ASCII digits, longer than `size_max`.

    Text i is the `sizes[i]` bytes of `data` from `starts[i]`; `size_max` counts all its characters.
    `found` is bool, one for each wanted text. Returns how many were found.
    """
    count = 0
    for place in range(len(wanted)):
        text = wanted[place]
        size = sizes[text]
        is_long = size > size_max and data[starts[text]] == _PLUS
        at = 1
        while is_long and at < size:
            # As an unsigned byte, anything below "0" becomes large: one comparison for both ends.
            is_long = np.uint8(data[starts[text] + at] - _ZERO) <= 9
            at += 1
        found[place] = is_long
        count += is_long
    return count


@kernel(
    I64(
        _columns(reads(U8), reads(I64), reads(I64)),
        _columns(reads(U8), reads(I64), reads(I64)),
        writes(I64),
    ),
    counted=False,
)
def find_texts(texts: Any, known: Any, found: Any) -> Any:
    """Find the place of each of `texts` in `known`, or -1. Return how many have a place.

    Both are data, starts and sizes. A text of a size below 0 has no place.
    """
    data, starts, sizes = texts
    names, name_starts, name_sizes = known
    count = 0
    for text in range(len(starts)):
        found[text] = -1
        for name in range(len(name_starts)):
            size = sizes[text]
            if size != name_sizes[name]:
                continue
            at = 0
            while at < size and data[starts[text] + at] == names[name_starts[name] + at]:
                at += 1
            if at == size:
                found[text] = name
                count += 1
                break
    return count


@inlined
def _put_number(out: Any, at: Any, numbers: Any, row: Any) -> Any:
    """Write an E.164 number in quotation marks. Return its end, or `at` if there is none."""
    if numbers[row, 0] == 0:
        return at
    out[at] = _QUOTE
    copy16(out, at + 1, numbers, row * 16)
    size = 16
    while numbers[row, size - 1] == 0:
        size -= 1
    out[at + 1 + size] = _QUOTE
    return at + size + 2


@inlined
def _say(out: Any, at: Any, phrases: Any, phrase: Any) -> Any:
    """Write a phrase. Return its end."""
    data, starts, sizes = phrases
    return put(out, at, data, starts[phrase], sizes[phrase])


@inlined
def _put_field(out: Any, at: Any, phrases: Any, fields: Any, field: Any, call: Any) -> Any:
    """Write a field as its record has it, in quotation marks, or null. Return its end."""
    data, starts, sizes = fields
    if sizes[field, call] < 0:
        return _say(out, at, phrases, NULL)
    out[at] = _QUOTE
    at = put(out, at + 1, data, starts[field, call], sizes[field, call])
    out[at] = _QUOTE
    return at + 1


@inlined
def _put_party(
    out: Any,
    at: Any,
    phrases: Any,
    own: Any,
    numbers: Any,
    fields: Any,
    field: Any,
    call: Any,
    odd: Any,
) -> Any:
    """Write a number as E.164 if it is one, else as the switch wrote it. Return its end."""
    after = at
    if call < len(numbers):
        after = _put_number(out, at, numbers, call)
    if after == at and odd >= 0:
        after = _say(out, at, own, odd + field)
    elif after == at:
        after = _put_field(out, at, phrases, fields, field, call)
    return after


@inlined
def _put_deciding(out: Any, at: Any, phrases: Any, numbers: Any, role: Any, call: Any) -> Any:
    """Write the number of caller (`role` 0) or callee, or null. Return its end."""
    callers, callees = numbers
    after = at
    if role == 0:
        after = _put_number(out, at, callers, call)
    elif call < len(callees):
        after = _put_number(out, at, callees, call)
    return after if after > at else _say(out, at, phrases, NULL)


@inlined
def _put_fields(
    out: Any, at: Any, phrases: Any, own: Any, fields: Any, numbers: Any, call: Any, odd: Any
) -> Any:
    """Write the call's id, caller and callee. Return their end."""
    callers, callees = numbers
    at = _say(out, at, own, odd) if odd >= 0 else _put_field(out, at, phrases, fields, 0, call)
    at = _say(out, at, phrases, CALLER)
    at = _put_party(out, at, phrases, own, callers, fields, 1, call, odd)
    at = _say(out, at, phrases, CALLEE)
    return _put_party(out, at, phrases, own, callees, fields, 2, call, odd)


@inlined
def _segment_of(row: Any, segments: Any, segment: Any) -> Any:
    """Return the last segment that starts at or before `row`; the search starts at `segment`."""
    # Rows mostly ascend, so the search goes on from the last one; after a step back it starts over.
    if row < segments[segment]:
        segment = 0
    while segment + 1 < len(segments) and segments[segment + 1] <= row:
        segment += 1
    return segment


@inlined
def _put_prefix(
    out: Any, at: Any, phrases: Any, numbers: Any, role: Any, call: Any, digits: Any
) -> Any:
    """Write that an entry is the first `digits` of the deciding number. Return its end."""
    callers, callees = numbers
    at = _say(out, at, phrases, REASON_PREFIX)
    copy16(out, at, callers if role == 0 else callees, call * 16)
    at += 1 + digits
    out[at], out[at + 1] = _STAR, _QUOTE
    return at + 2


@inlined
def _put_reason(
    out: Any,
    at: Any,
    phrases: Any,
    matches: Any,
    match: Any,
    generations: Any,
    numbers: Any,
    role: Any,
    call: Any,
) -> Any:
    """Write the reason that one list gives. Return its end."""
    at_list = matches[LIST, match]
    at = _say(out, at, phrases, LISTS + at_list)
    if matches[IS_CONFIRMED, match] != 0:
        at = _say(out, at, phrases, CATEGORIES + matches[CATEGORY, match])
        at = _say(out, at, phrases, CONFIRMED)
        at = put_decimal(out, at, matches[CONFIDENCE, match])
    else:
        at = _say(out, at, phrases, UNCONFIRMED)
    at = _say(out, at, phrases, GENERATION)
    at = put_decimal(out, at, generations[at_list])
    at = _say(out, at, phrases, REASON_EXPIRES)
    at = _put_time_or_null(out, at, phrases, matches[ENTRY_EXPIRES_AT_MS, match])
    if matches[PREFIX_DIGITS, match] != 0:
        at = _put_prefix(out, at, phrases, numbers, role, call, matches[PREFIX_DIGITS, match])
    out[at] = _CLOSE
    return at + 1


@inlined
def _put_time_or_null(out: Any, at: Any, phrases: Any, at_ms: Any) -> Any:
    if at_ms == NO_TIME:
        return _say(out, at, phrases, NULL)
    return put_time(out, at, at_ms)


@inlined
def _put_sip(
    out: Any, at: Any, phrases: Any, places: Any, blocks: Any, ids: Any, place: Any
) -> Any:
    """Write the answer to a blocked call's INVITE: phrases with the id between them, or null.

    Answers lie one after the other, with the same number of phrases; `blocks` selects one, from 1.
    """
    _, sip, after_sip = places
    if blocks == 0:
        return _say(out, at, phrases, NO_SIP)
    at = _say(out, at, phrases, SIP)
    first = sip + (blocks - 1) * (after_sip - sip)
    for part in range(first, first + (after_sip - sip)):
        if part > first:
            copy16(out, at, ids, place * 16)
            at += ID_SIZE
        at = _say(out, at, phrases, part)
    return at


@inlined
def _common_bound(phrases: Any, own: Any, segments: Any) -> Any:
    """Return the most bytes that any decision needs for the parts that all decisions have.

    Each fixed phrase counts once, even if a decision leaves it out. Fields and reasons repeat some
    of them; `_bound` counts these.
    """
    phrase_sizes, own_sizes = phrases[2], own[2]
    size = ID_SIZE + _NUMBER_MAX + 2 * _TIME_MAX + _DECIMAL_MAX + own_sizes[DECIDED]
    for phrase in range(CATEGORIES):
        size += phrase_sizes[phrase]
    longest = 0
    for segment in range(len(segments)):
        longest = max(longest, own_sizes[ORIGINS + segment])
    return size + longest


@inlined
def _bound(
    common: Any,
    phrases: Any,
    own: Any,
    fields: Any,
    call: Any,
    ruling: Any,
    odd: Any,
    rulings: Any,
    matches: Any,
    places: Any,
) -> Any:
    """Return the most bytes that one decision needs, from the lengths of all its parts."""
    sizes, own_sizes, field_sizes = phrases[2], own[2], fields[2]
    plain, sip, after_sip = places
    size = common
    for field in range(3):
        # A field is a number, or the record's text in quotation marks, or JSON made before.
        field_size = own_sizes[odd + field] if odd >= 0 else field_sizes[field, call] + 2
        size += max(field_size, _NUMBER_MAX)
    if ruling < 0:
        return size + sizes[plain] + sizes[plain + 1]
    size += sizes[rulings[HEAD, ruling]] + sizes[rulings[TAIL, ruling]]
    if rulings[BLOCKS, ruling] != 0:
        behind = (rulings[BLOCKS, ruling] - 1) * (after_sip - sip)
        for part in range(sip + behind, after_sip + behind):
            size += sizes[part] + ID_SIZE
    first, last = rulings[FIRST_MATCH, ruling], rulings[LAST_MATCH, ruling]
    # The fixed phrases of a reason; then confidence, generation, expiry, a prefix and two signs.
    reason = sizes[CONFIRMED] + sizes[UNCONFIRMED] + sizes[GENERATION] + sizes[REASON_EXPIRES]
    reason += sizes[REASON_PREFIX] + 2 * _DECIMAL_MAX + _TIME_MAX + _NUMBER_MAX + 2
    size += (last - first) * reason
    for match in range(first, last):
        size += sizes[LISTS + matches[LIST, match]]
        size += sizes[CATEGORIES + matches[CATEGORY, match]]
    return size


@inlined
def _rest_bound(
    first: Any,
    common: Any,
    phrases: Any,
    own: Any,
    fields: Any,
    decisions: Any,
    rulings: Any,
    matches: Any,
    places: Any,
) -> Any:
    """Return the most bytes that the decisions from `first` on need."""
    calls, ruled, odds, _ = decisions
    size = 0
    for place in range(first, len(calls)):
        call, ruling, odd = calls[place], ruled[place], odds[place]
        size += _bound(common, phrases, own, fields, call, ruling, odd, rulings, matches, places)
    return size


@inlined
def _ruling_of(rulings: Any, ruling: Any, plain: Any) -> Any:
    """Return head, tail, role, first and last match, whether it blocks, and two times."""
    if ruling < 0:
        return plain, plain + 1, 0, 0, 0, 0, NO_TIME, NO_TIME
    return (
        rulings[HEAD, ruling],
        rulings[TAIL, ruling],
        rulings[ROLE, ruling],
        rulings[FIRST_MATCH, ruling],
        rulings[LAST_MATCH, ruling],
        rulings[BLOCKS, ruling],
        rulings[CALLED_AT_MS, ruling],
        rulings[EXPIRES_AT_MS, ruling],
    )


# Before each decision, its longest form is compared with the room left in `out`. The last `_SPARE`
# bytes are not room. If it may not fit, nothing more is written and the result is negative:
# `-result` bytes of room are enough for all decisions.
@kernel(
    I64(
        _columns(reads(U8), reads(I64), reads(I64)),
        _columns(reads(U8), reads(I64), reads(I64)),
        _columns(reads(U8), reads(I64, 2), reads(I64, 2)),
        _columns(reads(U8, 2), reads(U8, 2)),
        _columns(reads(I64), reads(I64), reads(I64), reads(U8, 2)),
        _columns(reads(I64), reads(I64), reads(I64)),
        _columns(reads(I64, 2), reads(I64, 2), reads(I64)),
        _columns(I64, I64, I64),
        writes(U8),
        writes(I64),
        writes(I64),
    ),
    counted=False,
)
def write_decisions(
    phrases: Any,
    own: Any,
    fields: Any,
    numbers: Any,
    decisions: Any,
    records: Any,
    rulings_and_reasons: Any,
    places: Any,
    out: Any,
    starts: Any,
    sizes: Any,
) -> Any:
    """Write decisions as JSON, one after the other. Return the bytes written, or a shortage.

    `phrases`: data, starts, sizes, see above. `places` are places of phrases: the head of a plain
    allow (its tail follows), the first of the first SIP answer, and the next after it. `own`:
    phrases of this batch, like `phrases`, with an origin for each segment from `ORIGINS` on.
    `fields`: data, starts, sizes as in `call_batch.Located`. `numbers`: callers and callees, S16 as
    uint8[calls, 16]; callees without rows if they were not read. `decisions` has one column each:
    the call; its column of the rulings, -1 for a plain allow; the first of its fields (JSON) in
    `own`, -1 if `fields` has them; ids uint8[n, 16]. `records`: the row of each call, the offset of
    each row, the first row of each segment. `rulings_and_reasons`: int64[8, rulings], int64[6,
    matches], the lists' generations; `NO_TIME` means no time.

    Decision i is then the `sizes[i]` bytes of `out` from `starts[i]`.
    """
    calls, ruled, odds, ids = decisions
    rows, offsets, segments = records
    rulings, matches, generations = rulings_and_reasons
    plain = places[0]
    room = len(out) - _SPARE
    common = _common_bound(phrases, own, segments)
    at, segment = 0, 0
    for place in range(len(calls)):
        call, ruling, odd = calls[place], ruled[place], odds[place]
        bound = _bound(common, phrases, own, fields, call, ruling, odd, rulings, matches, places)
        if at + bound > room:
            return -at - _rest_bound(
                place, common, phrases, own, fields, decisions, rulings, matches, places
            )
        starts[place] = at
        at = _say(out, at, phrases, OPEN)
        copy16(out, at, ids, place * 16)
        at += ID_SIZE
        head, tail, role, first, last, blocks, called_at_ms, expires_at_ms = _ruling_of(
            rulings, ruling, plain
        )
        at = _say(out, at, phrases, head)
        at = _put_deciding(out, at, phrases, numbers, role, call)
        at = _say(out, at, phrases, OF_CALLER + role)
        at = _put_fields(out, at, phrases, own, fields, numbers, call, odd)
        at = _say(out, at, phrases, REASONS)
        for match in range(first, last):
            at = _put_reason(out, at, phrases, matches, match, generations, numbers, role, call)
            if match + 1 < last:
                out[at] = _COMMA
                at += 1
        at = _put_sip(out, at, phrases, places, blocks, ids, place)
        at = _put_time_or_null(out, at, phrases, called_at_ms)
        at = _say(out, at, own, DECIDED)
        at = _put_time_or_null(out, at, phrases, expires_at_ms)
        row = rows[call]
        segment = _segment_of(row, segments, segment)
        at = _say(out, at, own, ORIGINS + segment)
        at = put_decimal(out, at, offsets[row])
        at = _say(out, at, phrases, tail)
        sizes[place] = at - starts[place]
    return at
