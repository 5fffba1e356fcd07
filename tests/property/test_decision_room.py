"""The kernel that writes decisions stays in its room, whatever lengths its pieces have.

Its buffer ends where memory ends, so a byte written behind it ends the process. The reference is
msgspec, which knows no room.
"""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls import encode
from stream.calls.decide import Rules, decide
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core import kernels
from stream.core.model.byte_strings import PADDING, Texts
from stream.core.model.decision import SipAnswerSettings
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.kafka.batch import Partition, RawBatch
from tests.support.builders import NOW_S, blocklists, live
from tests.support.guarded_memory import Guarded

pytestmark = pytest.mark.skipif(not kernels.compiled(), reason="it is about a compiled kernel")

NUMBERS = ("+447700900101", "+4477009001012", "+447700900102", "+66812345678")
PREFIXES = ("+44770090010*", "+4477009001*")

lengths = st.sampled_from([0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 500, 16_384])
letters = st.sampled_from(["a", "é", "\\", '"', "\x00", "\u2028", "\U0001f4de"])
texts = st.builds(str.__mul__, letters, lengths)
calls = st.fixed_dictionaries(
    {
        "call_id": texts,
        "caller": st.sampled_from([*NUMBERS, None, ""]) | texts,
        "callee": st.sampled_from([*NUMBERS, None]) | texts,
    },
    optional={"started_at": st.sampled_from([0, 253_402_300_799, 9_999_999_999_999, -1])},
)
urls = st.builds(
    lambda size, times: f"https://r.example/{'x' * size}" + "{decision_id}" * times,
    lengths,
    st.integers(1, 40),
)
names = st.lists(
    st.builds(lambda letter, size: f"X{letter}/{letter.lower() * (1 + size % 64)}",
              st.sampled_from("ABCDEFGH"), lengths),
    min_size=1, max_size=6, unique=True,
)  # fmt: skip
topics = st.builds(str.__mul__, st.sampled_from(["t", "é"]), st.integers(1, 249))
offsets = st.sampled_from([0, 9, 10**9, (1 << 63) - 300])
categories = st.sampled_from(["unknown", "telecom_fraud", "impersonation", "smishing"])
rooms = st.sampled_from([(0, 0), (1, 0), (200, 0), (700, 10), (1024, 384)])


def said_of(values, names, url, topic, offset, emit_all):
    """The columns of all decisions on records, as `decide` hands them to the encoder."""
    lists = blocklists(*(live(name, *NUMBERS[:3], *PREFIXES) for name in sorted(names)))
    raw = RawBatch.of(Texts.of(values), Partition(topic, 1 << 30), offset, NOW_S * 1000)
    batch = decode(raw, {topic: RINGFENCE}, Trunks("TH"), DecodeSettings(1 << 20, True))
    policy = compile_policy(PolicySettings(), lists.names)
    rules = Rules(
        policy, EmergencyNumbers({}), Trunks("TH"), SipAnswerSettings(url, "RLN"), emit_all
    )
    kept = []

    def keep(said):
        kept.append(said)
        return Texts.of(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.calls.decide.encode", keep)
        decide(batch, lists, rules, NOW_S * 1000).outcome()
    return kept[0] if kept else None


@given(st.lists(calls, min_size=1, max_size=5), names, urls, topics, offsets, st.booleans(), rooms)
def test_whatever_the_lengths_decisions_are_whole_and_inside_their_room(
    records, names, url, topic, offset, emit_all, room
):
    """From too little room, too, the kernel comes to the reference's text, in guarded memory."""
    values = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    said = said_of(values, names, url, topic, offset, emit_all)
    if said is None:
        return
    memory = Guarded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "np", memory)
        patch.setattr(encode, "_ROOM", room[0])
        patch.setattr(encode, "_REASON_ROOM", room[1])
        written = list(encode.encode(said))
    assert written == [encode._encode(decision) for decision in encode._by_objects(said)]
    assert memory.made <= 2, "the kernel says at once how much it needs"
    if room == (0, 0):
        assert memory.made == 2, "without room it stops"


@given(st.lists(calls, min_size=2, max_size=4), names, st.integers(0, 4000))
def test_a_kernel_that_stops_has_written_nothing_behind_its_room(records, names, room):
    """A decision that does not fit is not begun: only the spare bytes behind it may change."""
    said = said_of(
        [json.dumps(record).encode() for record in records],
        names,
        "https://r.example/{decision_id}",
        "calls",
        0,
        True,
    )
    buffers = []

    class Marked(Guarded):
        def empty(self, shape, dtype):
            made = super().empty(shape, dtype)
            if dtype is np.uint8:
                made[:] = 0xFF
                buffers.append(made)
            return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "np", Marked())
        patch.setattr(encode, "_ROOM", 0)
        patch.setattr(encode, "_REASON_ROOM", 0)
        first = encode.encode(said)
        needed = len(buffers[-1]) - PADDING
        assert (buffers[0] == 0xFF).all(), "no room: not one byte is written"
        assert int(first.starts[-1] + first.sizes[-1]) <= needed
        patch.setattr(encode, "_ROOM", min(room, needed) // len(records))
        again = encode.encode(said)
    assert list(again) == list(first)
