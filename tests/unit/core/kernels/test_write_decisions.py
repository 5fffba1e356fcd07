"""Kernels that write decisions stay within their memory, and tell the time."""

import json
import random
from datetime import UTC, datetime

import msgspec
import pytest

from stream.calls import encode
from stream.calls.decide import Rules, decide
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core import kernels
from stream.core.model.byte_strings import Texts
from stream.core.model.decision import SipAnswerSettings
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.kafka import batch_encoder
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.batch_encoder import BatchEncoder
from tests.support.builders import NOW_S, blocklists, live
from tests.support.guarded_memory import Guarded, guarded

pytestmark = pytest.mark.skipif(not kernels.compiled(), reason="it is about compiled kernels")

LISTED = [f"+4477009001{n:02d}" for n in range(20)]
SIP = SipAnswerSettings("https://r.example/{decision_id}", "TN")
LISTS = blocklists(
    live("XA/one", *LISTED),
    live("XB/two", *LISTED[:9], expires_at_s=NOW_S + 99),
    live("XC/three", "+44770090010*", "+4477009001*"),
)

EDGES_S = (0, 951_782_399, 951_782_400, 951_868_800, 1_709_164_800, 4_107_542_399, 4_107_542_400)
"""The ends of February in 2000, 2024 and 2100."""


def outcome_of(values, emit_all=True):
    """Decisions about records that lie at the end of what may be read."""
    whole = Texts.of(values)
    data = guarded(len(whole.data))
    data[:] = whole.data
    texts = Texts(data, whole.starts, whole.sizes)
    raw = RawBatch.of(texts, Partition("calls", 11), 10**9, NOW_S * 1000)
    batch = decode(raw, {"calls": RINGFENCE}, Trunks("TH"), DecodeSettings(1 << 20, True))
    policy = compile_policy(PolicySettings(), LISTS.names)
    rules = Rules(policy, EmergencyNumbers({}), Trunks("TH"), SIP, emit_all)
    return decide(batch, LISTS, rules, NOW_S * 1000).outcome()


def call(rng, caller, **fields):
    """One record; its last field ends it, as far as JSON lets it."""
    odd = rng.choice(["", "x", "é", '"', "y" * 70, "z" * 3000])
    told = {"call_id": f"c{odd}", **fields, "callee": rng.choice(LISTED), "caller": caller}
    return json.dumps(told, separators=(",", ":")).encode()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_read_or_written_behind_the_buffers(monkeypatch, seed):
    """Records, decisions and batches each end where memory ends; lengths of every kind."""
    memory = Guarded()
    monkeypatch.setattr(encode, "np", memory)
    monkeypatch.setattr(batch_encoder, "np", memory)
    rng = random.Random(seed)
    framing = BatchEncoder(
        (("content-type", b"application/json"),), 4096, None, transactional=False
    )
    for count in (1, 2, 3, 60):
        callers = rng.choices([*LISTED, None, "KBank", "+66812345678"], k=count)
        made = outcome_of([call(rng, caller) for caller in callers])
        assert len(made.ids) == count
        held = [*framing.frames(made.ids, made.keys, made.values, 3, 0, NOW_S)]
        assert sum(frame.record_count() for _, frame in held) == count
    # One buffer of each kernel a batch; another where long fields did not fit the first.
    assert memory.made >= 8, "the buffers of both kernels are guarded"


@pytest.mark.parametrize("at_s", [*EDGES_S, *range(0, 10**10, 1_234_567_891)])
def test_the_kernel_knows_the_calendar(at_s):
    """Leap days, centuries, the first and the last second that RFC 3339 can write."""
    value = json.dumps(
        {"call_id": "c", "caller": LISTED[0], "callee": None, "started_at": at_s}
    ).encode()
    ((written,),) = (list(outcome_of([value]).values),)
    told = msgspec.json.decode(written)["called_at"]
    seconds = at_s if at_s < 1e11 else at_s / 1000
    assert (
        told == datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    )
