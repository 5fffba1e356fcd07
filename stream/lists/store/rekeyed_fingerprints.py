"""Fingerprints of an earlier epoch of a list's circle: which of its numbers they are.

A partner may decide by a list, and ask about a number, in the epoch that the list's owner has left.
The owner has the numbers, and the old key until `ringfence circle retire`.
"""

import asyncio
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import Digests, elements
from stream.core.model.entry import Columns
from stream.core.numbers.codes import texts_of
from stream.lists.snapshot.build import CHUNK
from stream.lists.snapshot.circle_keys import epochs_before
from stream.lists.store.contents import entries_of
from stream.lists.store.list_store import Register


async def hashed_now(
    register: Register, name: str, fingerprints: Collection[int], keys: Mapping[str, bytes]
) -> dict[int, int]:
    """What fingerprints of an earlier epoch are in the list's own; only those of its numbers.

    Hashes every number of the list for each earlier key that is here, and none where the list holds
    all fingerprints as they are. Raises ListUnknown, RegisterDown, SnapshotUnreadable.
    """
    head = (await register.state(name)).head
    older = [keys[circle] for circle in epochs_before(head.circle) if circle in keys]
    if not older or head.circle not in keys:
        return {}
    reports = await register.reports(name, list(fingerprints))
    asked = np.array([one for one in fingerprints if not reports.get(one)], np.uint64)
    if not len(asked):
        return {}
    _, columns = await entries_of(register, name, keys[head.circle])
    found: dict[int, int] = {}
    for key in older:
        found |= await asyncio.to_thread(_found, columns, key, asked)
    return found


def _found(columns: Columns, key: bytes, asked: NDArray[np.uint64]) -> dict[int, int]:
    found = {}
    rows = np.flatnonzero((columns.number != 0) & columns.begins)
    for at in range(0, len(rows), CHUNK):
        some = rows[at : at + CHUNK]
        hashed = Digests(elements(texts_of(columns.number[some]), key)).fingerprints()
        for place in np.flatnonzero(np.isin(hashed, asked)).tolist():
            found[int(hashed[place])] = int(columns.fingerprint[some[place]])
    return found
