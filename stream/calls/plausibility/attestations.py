"""Results of STIR/SHAKEN of the calls of a batch, for the rules that go by them.

Nearly all records write the same few texts, which are found as columns. Only other texts, and
callers that are URIs, are looked at one by one.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import CallBatch
from stream.core.model.call import Stage
from stream.core.numbers.number import Numbers
from stream.core.stir.attestation import (
    LEVELS,
    VERSTATS,
    Attested,
    read_level,
    read_verstat,
    verstat_of_uri,
)
from stream.core.stir.verifier import SignedCall

Verify = Callable[[str, SignedCall, float], Attested]
"""`Verifier.attested`: what a PASSporT says of a call, at a time."""


def attested(batch: CallBatch) -> NDArray[np.uint8]:
    """Return the `Attested` of each call, by its `verstat` and `attestation`."""
    calls = np.arange(len(batch))
    found = _results(batch, "verstat", tuple(VERSTATS), _OF_VERSTATS, read_verstat)
    levels = _results(batch, "attestation", LEVELS, _OF_LEVELS, read_level)
    # A caller that is a SIP or tel URI may have the result as a parameter. Plain numbers, which
    # nearly all are, were read by the kernel, and no text is looked at.
    unread = calls[(found <= Attested.UNSURE) & ~_plain_callers(batch)]
    for call in unread.tolist():
        if said := verstat_of_uri(batch.text("caller", call) or ""):
            found[call] = read_verstat(said)
    return np.maximum(found, levels)


def _results(
    batch: CallBatch,
    field: str,
    known: Sequence[str],
    meanings: NDArray[np.uint8],
    read: Callable[[str], Attested],
) -> NDArray[np.uint8]:
    """Return what a field says of each call: the usual texts as columns, others one by one."""
    calls = np.arange(len(batch))
    places = batch.places(field, known, calls)
    found = meanings[places]  # the last place is that of texts that are not known, or not there
    for call in calls[(places < 0) & _there(batch, field)].tolist():
        found[call] = read(batch.text(field, call) or "")
    return found


def _there(batch: CallBatch, field: str) -> NDArray[np.bool_]:
    """Return which calls have the field."""
    located = batch.located
    if located is None:
        return np.array([getattr(one, field) is not None for one in batch.key_fields], np.bool_)
    found = located.field(field).sizes >= 0
    for call, one in located.fallback.items():
        found[call] = getattr(one, field) is not None
    start = 0
    for constants in located.constants:
        found[start : constants.stop] |= field in constants.texts
        start = constants.stop
    return found


def with_passport(batch: CallBatch) -> NDArray[np.int64]:
    """Return the calls that have a PASSporT."""
    return np.flatnonzero(_there(batch, "passport"))


def verified(
    batch: CallBatch, calls: NDArray[np.int64], verify: Verify, now_s: int
) -> NDArray[np.uint8]:
    """Return what the PASSporTs of `calls` say, by the `Attested` of each."""
    return np.array(
        [
            verify(batch.text("passport", call) or "", _signed_call(batch, call), now_s)
            for call in calls.tolist()
        ],
        np.uint8,
    )


def _signed_call(batch: CallBatch, call: int) -> SignedCall:
    """Return what a call's PASSporTs are compared with."""
    numbers = (batch.callers, batch.callees)
    caller, callee = (set() if one is None else _number(one, call) for one in numbers)
    began_s = batch.started_at_s(call)
    if began_s is None and batch.call_of(call).stage is Stage.ATTEMPT:
        began_s = float(batch.raw.timestamps_ms[batch.rows[call]]) / 1000
    return SignedCall(caller, callee, began_s)


def _number(numbers: Numbers, call: int) -> set[str]:
    e164 = numbers.e164[call].decode("ascii")
    return {e164} if e164 else set()


def _plain_callers(batch: CallBatch) -> NDArray[np.bool_]:
    """Return which callers begin with a digit or a plus: they are no URI."""
    located = batch.located
    if located is None:
        return np.array(
            [one.caller is None or one.caller[:1] in _PLAIN for one in batch.key_fields], np.bool_
        )
    texts = located.field("caller")
    first = texts.data[texts.starts]
    found: NDArray[np.bool_] = (texts.sizes <= 0) | _PLAIN_BYTES[first]
    for call, one in located.fallback.items():
        found[call] = one.caller is None or one.caller[:1] in _PLAIN
    return found


_PLAIN: Final = tuple("+0123456789")
_PLAIN_BYTES: Final = np.isin(np.arange(256), [*map(ord, _PLAIN)])
_OF_VERSTATS: Final = np.array([*VERSTATS.values(), Attested.MISSING], np.uint8)
_OF_LEVELS: Final = np.array([*(Attested[level] for level in LEVELS), Attested.MISSING], np.uint8)
