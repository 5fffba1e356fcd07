"""Lists that may hold a number, and lists that do: tables, sorted columns, overlays."""

from typing import Any

import numpy as np

from stream.core.kernels.jit import (
    I64,
    U8,
    U16,
    U32,
    U64,
    inlined,
    kernel,
    reads,
    trailing_zeros,
    types,
    writes,
)
from stream.core.kernels.memory import multiply_high, prefetch, read8, read16, read32, read64

BLOCK = 256
"""Numbers that go through all slices before the next ones do. Their memory accesses overlap, and
their scratch arrays stay in the first-level cache."""
SLICES_FIRST = 3
"""With many lists, nearly every number needs the first slices."""
MARK_SHIFT = np.uint64(64 - 18)
"""Shift from a fingerprint to its mark in an overlay (see `overlay.MARK_BITS`)."""
FINGERPRINT, EXPIRES_AT, CATEGORY, CONFIDENCE, REPORTED_AT, COUNT = range(6)
"""A row of an exact index: five column addresses and their length; length -1: no entries."""
ENDLESS = 1 << 40
"""A time after any that a column can hold."""
LEGITIMATE = 12
"""`entry.Category.LEGITIMATE`."""
ROUNDING = 0.5 + 1e-9
"""`confidence.rounded`."""

_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@inlined
def lists_at(table: int, width: int, position: int) -> Any:
    """Return the table's word for a bit position."""
    if width == 8:
        return read64(table + 8 * position)
    if width == 4:
        return read32(table + 4 * position)
    if width == 2:
        return read16(table + 2 * position)
    return read8(table + position)


def _strided(item: Any, dimensions: int) -> Any:
    return types.Array(item, dimensions, "A", readonly=True)


@kernel(
    *(I64(_strided(item, 2), I64, I64, I64, writes(I64), writes(U64)) for item in (U16, U32, U64))
)
def probe(words: Any, table: Any, width: Any, m: Any, rows: Any, masks: Any) -> Any:
    """Find the rows that a list may hold, and the lists' bits. Return how many rows there are.

    This is `reference.probe_words`. `table` is the address of k * m words of `width` bytes; `words`
    has k columns. `rows` and `masks` have a place for each row of `words`.

    After each slice, only numbers that some list may still hold go on. They are moved without a
    branch: a wrong guess costs more than the gather it saves. Words are prefetched, those of the
    first slices long before. With 64 lists of 1M, a table of 321 MB and new words: 43 ns a number.
    Without the prefetch 52 ns, without scratch arrays of our own 90 ns.
    """
    # Lemire, Kaser, Kurz, "Faster remainder by direct computation" (2019): exact for 32 bits.
    modulus = U64(m)
    inverse = _ALL // modulus + U64(1)
    slices = words.shape[1]
    place = np.empty((slices, BLOCK), np.int64)
    alive, held = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.uint64)
    found = 0
    for base in range(0, len(words), BLOCK):
        left = min(BLOCK, len(words) - base)
        for i in range(left):
            alive[i], held[i] = i, _ALL
        asked = 0
        for j in range(slices):
            while asked < min(max(SLICES_FIRST, j + 1), slices):
                for i in range(left):
                    word = U64(words[base + alive[i], asked])
                    if words.itemsize < 8:
                        rest = I64(multiply_high(inverse * word, modulus))
                    else:
                        rest = I64(word % modulus)
                    place[asked, alive[i]] = asked * m + rest
                    prefetch(table + width * (asked * m + rest))
                asked += 1
            # Always written, and kept by advancing `still`: there is no branch to mispredict.
            still = 0
            for i in range(left):
                mask = held[i] & lists_at(table, width, place[j, alive[i]])
                alive[still], held[still] = alive[i], mask
                still += 1 if mask != U64(0) else 0
            left = still
            if left == 0:
                break
        for i in range(left):
            rows[found], masks[found] = base + alive[i], held[i]
            found += 1
    return found


@inlined
def not_below(column: int, count: int, guess: int, wanted: Any) -> Any:
    """Return the first place of the `count` sorted uint64 at `column` that is not below `wanted`.

    The search goes from the place `guess` in doubling steps, then halves the range. Values before
    `low` are below `wanted`; values from `high` on are not.
    """
    low, high, step = 0, count, 1
    if read64(column + 8 * guess) < wanted:
        low = guess + 1
        while low < high:
            at = min(low + step, high) - 1
            if read64(column + 8 * at) >= wanted:
                high = at
                break
            low = at + 1
            step *= 2
    else:
        high = guess
        while low < high:
            at = max(high - step, low)
            if read64(column + 8 * at) < wanted:
                low = at + 1
                break
            high = at
            step *= 2
    while low < high:
        middle = (low + high) >> 1
        if read64(column + 8 * middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def nearer(column: int, count: int, guess: int, wanted: Any) -> Any:
    """Return a better guess: fingerprints are digests, so their places grow evenly with them."""
    held = read64(column + 8 * guess)
    if held <= wanted:
        return min(guess + I64(multiply_high(wanted - held, U64(count))), count - 1)
    return max(guess - I64(multiply_high(held - wanted, U64(count))), 0)


@inlined
def is_changed(changed: Any, changed_lists: Any, fingerprint: Any, index: int) -> bool:
    """Report whether the overlay of list `index` has changes to `fingerprint`."""
    at = np.searchsorted(changed, fingerprint)
    while at < len(changed) and changed[at] == fingerprint:
        if changed_lists[at] == index:
            return True
        at += 1
    return False


@inlined
def locate(
    rows: Any, masks: Any, fingerprints: Any, exact: Any, hit_rows: Any, bits: Any, places: Any
) -> Any:
    """Note each hit of `masks`: its row, bit, and place in the list's columns. Return how many.

    The place is -1 if the list has no such entry, or no entries at all. Each step runs for all hits
    before the next step, so that their cache misses overlap.
    """
    hits = 0
    for i in range(len(rows)):
        mask, fingerprint = masks[i], fingerprints[rows[i]]
        while mask != U64(0):
            bit = trailing_zeros(mask)
            mask &= mask - U64(1)  # clears the lowest set bit
            guess = I64(-1)
            if exact[bit, COUNT] > 0:
                guess = I64(multiply_high(fingerprint, U64(exact[bit, COUNT])))
                prefetch(exact[bit, FINGERPRINT] + 8 * guess)
            hit_rows[hits], bits[hits], places[hits] = rows[i], bit, guess
            hits += 1
    # Two better guesses: among a million entries the third probe is at the place or next to it.
    for _ in range(2):
        for i in range(hits):
            if places[i] >= 0:
                column, count = exact[bits[i], FINGERPRINT], exact[bits[i], COUNT]
                places[i] = nearer(column, count, places[i], fingerprints[hit_rows[i]])
                prefetch(column + 8 * places[i])
    for i in range(hits):
        if places[i] >= 0:
            bit, wanted = bits[i], fingerprints[hit_rows[i]]
            column, count = exact[bit, FINGERPRINT], exact[bit, COUNT]
            at = not_below(column, count, places[i], wanted)
            if at < count and read64(column + 8 * at) == wanted:
                prefetch(exact[bit, EXPIRES_AT] + 4 * at)
                prefetch(exact[bit, CATEGORY] + at)
                prefetch(exact[bit, CONFIDENCE] + at)
                prefetch(exact[bit, REPORTED_AT] + 4 * at)
            else:
                at = -1
            places[i] = at
    return hits


@inlined
def left(confidence: Any, reported_at_s: Any, lifetime_s: Any, exponent: Any, now_s: Any) -> Any:
    """`confidence.left`: 0 to 1."""
    share = 0.0
    if lifetime_s > 0.0:
        share = min(max(now_s - reported_at_s, 0) / lifetime_s, 1.0) ** exponent
    return confidence * (1.0 - share) / 100.0


@inlined
def standing(columns: Any, at: Any, lifetime_s: Any, exponent: Any, now_s: Any) -> Any:
    """Apply `confidence.standing` to the number whose reports begin in row `at` of `columns`.

    Returns the live reports against it (0: no match), category, confidence from 0 to 1, expiry.
    """
    blames, category, best, newest = 0, I64(0), -1.0, I64(-1)
    err, doubt, until = 1.0, 1.0, I64(0)
    fingerprints, count = columns[FINGERPRINT], columns[COUNT]
    fingerprint = read64(fingerprints + 8 * at)
    # There is nearly always one. Then its date matters only where confidence falls.
    several = at + 1 < count and read64(fingerprints + 8 * (at + 1)) == fingerprint
    while True:
        ends = I64(read32(columns[EXPIRES_AT] + 4 * at))
        if ends == 0 or now_s < ends:
            kind, made = I64(read8(columns[CATEGORY] + at)), I64(0)
            if lifetime_s > 0.0 or several:
                made = I64(read32(columns[REPORTED_AT] + 4 * at))
            sure = left(I64(read8(columns[CONFIDENCE] + at)), made, lifetime_s, exponent, now_s)
            if kind == LEGITIMATE:
                doubt *= 1.0 - sure
            else:
                blames += 1
                err *= 1.0 - sure
                until = I64(ENDLESS) if ends == 0 else max(until, ends)
                newer = made > newest or (made == newest and kind < category)
                if sure > best or (sure == best and newer):
                    category, best, newest = kind, sure, made
        at += 1
        if at == count or read64(fingerprints + 8 * at) != fingerprint:
            break
    return (
        blames,
        category,
        (1.0 - err) * doubt if several else best,
        I64(0) if until == ENDLESS else until,
    )


@kernel(
    I64(
        *(reads(I64), reads(U64), _strided(U64, 1)),
        *(reads(I64), reads(I64, 2)),
        *(reads(types.bool_), reads(U64), reads(I64), reads(types.float64, 2), I64),
        *(writes(I64), writes(I64), writes(types.bool_), writes(U8), writes(U8), writes(I64)),
    )
)
def confirm(
    rows: Any,
    masks: Any,
    fingerprints: Any,
    lists: Any,
    exact: Any,
    marks: Any,
    changed: Any,
    changed_lists: Any,
    decay: Any,
    now_s: Any,
    out_rows: Any,
    out_lists: Any,
    out_confirmed: Any,
    out_category: Any,
    out_confidence: Any,
    out_expires_at_s: Any,
) -> Any:
    """Keep the hits `rows`, `masks` of a table that entries and overlays confirm. Return how many.

    `fingerprints` are those of all rows asked; `lists` and `exact` belong to the table's bits.
    `marks` and the sorted pairs `changed`, `changed_lists` are the overlays'. `decay` is as in
    `core.model.confidence`, by list. The `out_` columns have room for every hit, and are filled in
    order of row and bit.
    """
    # Two of the columns hold the hits' bits and places until the matches overwrite them.
    bits, places = out_lists, out_expires_at_s
    kept = 0
    for i in range(locate(rows, masks, fingerprints, exact, out_rows, bits, places)):
        row, bit, at = out_rows[i], bits[i], places[i]
        index, count, fingerprint = lists[bit], exact[bit, COUNT], fingerprints[row]
        if count >= 0 and at < 0:
            continue
        # A list without entries (-1) neither confirms nor refutes.
        blames, category, sure, expires_at_s = 0, I64(0), 0.0, I64(0)
        if count >= 0:
            blames, category, sure, expires_at_s = standing(
                exact[bit], at, decay[index, 0], decay[index, 1], now_s
            )
            if blames == 0:
                continue
        if marks[fingerprint >> MARK_SHIFT] and is_changed(
            changed, changed_lists, fingerprint, index
        ):
            continue
        out_rows[kept], out_lists[kept], out_confirmed[kept] = row, index, count >= 0
        out_category[kept] = category
        out_confidence[kept] = int(100.0 * sure + ROUNDING)
        out_expires_at_s[kept] = expires_at_s
        kept += 1
    return kept


@kernel(I64(_strided(U64, 1), reads(types.bool_), reads(U64), writes(I64), writes(I64)))
def changed_rows(fingerprints: Any, marks: Any, changed: Any, rows: Any, places: Any) -> Any:
    """Find rows whose fingerprint is in the sorted `changed`, and its place. Return how many."""
    found = 0
    for row in range(len(fingerprints)):
        if marks[fingerprints[row] >> MARK_SHIFT]:
            at = np.searchsorted(changed, fingerprints[row])
            if at < len(changed) and changed[at] == fingerprints[row]:
                rows[found], places[found] = row, at
                found += 1
    return found
