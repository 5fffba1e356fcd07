"""Short bursts, counted by hash and in part, against remembering every record there was."""

import json
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.plausibility import bursts as module
from stream.calls.plausibility.bursts import Bursts
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.policy.rules import BurstSettings
from stream.kafka.batch import Partition, RawBatch, Segment

SETTINGS = BurstSettings(window_s=10, calls=4, call_s_max=3)
WINDOW_MS = 10_000
NUMBERS = [f"+4477009001{n:02d}" for n in range(3)]
T0_MS = 1_795_564_368_000

calls = st.fixed_dictionaries(
    {
        "caller": st.sampled_from(NUMBERS),
        "call_id": st.integers(0, 9).map(str),
        "duration_s": st.sampled_from([0, 1.5, 3, 3.1, 60, None]),
        "stage": st.sampled_from(["end", "end", "end", "attempt"]),
        "partition": st.integers(0, 1),
        "waits_ms": st.sampled_from([0, 1, 500, 2500, 9_999, 10_000, 25_000]),
    }
)
batches = st.lists(st.lists(calls, max_size=12), max_size=6)


offsets = count()


def looked(bursts, records, at_ms, topic="calls", first=None):
    """Which of `records` (in the order of partitions) are in a burst, and the time afterwards.

    They lie behind those of the last time, or from offset `first` on.
    """
    records = sorted(records, key=lambda one: one["partition"])
    times = at_ms + np.cumsum([one["waits_ms"] for one in records], dtype=np.int64)
    in_first = sum(one["partition"] == 0 for one in records)
    raw = RawBatch(
        [json.dumps({"callee": None} | one).encode() for one in records],
        np.array([next(offsets) if first is None else first + row for row in range(len(records))]),
        times,
        (
            Segment(Partition(topic, 0), 0, in_first),
            Segment(Partition(topic, 1), in_first, len(records)),
        ),
        1,
    )
    batch = decode(raw, {topic: RINGFENCE}, Trunks("TH"), DecodeSettings(10_000, True))
    found = {*bursts.look(batch, np.arange(len(records))).tolist()}
    said = [
        (one, time, row in found)
        for row, (one, time) in enumerate(zip(records, times.tolist(), strict=True))
    ]
    return said, at_ms + sum(one["waits_ms"] for one in records)


class Naive:
    """Remembers all."""

    def __init__(self):
        self.seen = []

    def distinct(self, record, at_ms, ignored=0):
        """Short calls of the number in the window, with this one; its first records not counted."""
        self.seen.append((record, at_ms))
        mine = [
            (one, then)
            for one, then in self.seen
            if (one["partition"], one["caller"]) == (record["partition"], record["caller"])
            and at_ms - then < WINDOW_MS
        ]
        return len(
            {
                one["call_id"]
                for one, _ in mine[ignored:]
                if one["stage"] == "end"
                and one["duration_s"] is not None
                and one["duration_s"] <= SETTINGS.call_s_max
            }
        )


@pytest.mark.parametrize("watched_from", [1, module.WATCHED_FROM])
@given(batches=batches)
def test_a_burst_is_never_seen_where_there_is_none_and_missed_only_at_first(batches, watched_from):
    """Watched from the first call on it is exact; else all but the window's first calls count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WATCHED_FROM", watched_from)
        patch.setattr(module, "_CELLS", 2)
        patch.setattr(module, "_SHIFT", np.uint64(63))
        bursts = Bursts(SETTINGS, ["calls"], switch_ids=["calls"])
        exact, late, at_ms = Naive(), Naive(), T0_MS
        for records in batches:
            said, at_ms = looked(bursts, records, at_ms)
            for record, then_ms, in_burst in said:
                most = exact.distinct(record, then_ms)
                least = late.distinct(record, then_ms, watched_from - 1)
                assert in_burst <= (most >= SETTINGS.calls)
                assert in_burst >= (least >= SETTINGS.calls)
        assert bursts.forgotten == 0


def flood(number, count, first=0, **more):
    """Short calls of one number, each another."""
    return [
        {
            "caller": number,
            "call_id": f"{number}/{first + place}",
            "duration_s": 0,
            "partition": 0,
            "waits_ms": 0,
        }
        | more
        for place in range(count)
    ]


def in_burst(bursts, records, at_ms=T0_MS, topic="calls"):
    """Count the `records` that are in a burst."""
    return sum(found for *_, found in looked(bursts, records, at_ms, topic)[0])


def test_numbers_that_share_a_counter_are_not_mistaken_for_each_other(monkeypatch):
    """With all numbers in one cell, only who makes short calls is in a burst."""
    monkeypatch.setattr(module, "_CELLS", 1)
    monkeypatch.setattr(module, "_SHIFT", np.uint64(63))
    monkeypatch.setattr(module, "_MIX", np.uint64(0))
    bursts = Bursts(SETTINGS, ["calls"])
    assert in_burst(bursts, flood(NUMBERS[0], 20)) == 17
    assert in_burst(bursts, flood(NUMBERS[1], 3) + flood(NUMBERS[2], 40, duration_s=70)) == 0


def test_records_of_one_call_count_once():
    """An attempt, its end and a CDR sent again, for each of three calls, are three calls."""
    bursts = Bursts(SETTINGS, ["calls"])
    three = flood(NUMBERS[0], 3)
    assert in_burst(bursts, [*three, *three, *(one | {"stage": "attempt"} for one in three)]) == 0
    assert in_burst(bursts, flood(NUMBERS[0], 1, first=3)) == 1
    assert in_burst(bursts, flood(NUMBERS[0], 1, first=9, stage="attempt", duration_s=None)) == 1


def one_id(count, apart_ms, duration_s=1, **more):
    """Short calls of one number that all have one id, each to another, so far apart."""
    return [
        {"caller": NUMBERS[0], "call_id": "same@host", "duration_s": duration_s, "partition": 0}
        | {"callee": f"+4477009003{place % 100:02d}", "waits_ms": apart_ms if place else 0}
        | more
        for place in range(count)
    ]


@pytest.mark.parametrize("apart_ms", [0, 1, 100, 299])
@pytest.mark.parametrize("duration_s", [0, 1, 3])
@pytest.mark.parametrize("to_one", [False, True])
def test_many_calls_under_one_id_are_many(apart_ms, duration_s, to_one):
    """200 calls that a SIP caller gave one Call-ID are no legs of one call: it is in a burst."""
    settings = BurstSettings()
    more = {"callee": "+447700900300"} if to_one else {}
    calls = one_id(200, apart_ms, duration_s, **more)
    assert in_burst(Bursts(settings, ["calls"]), calls) >= 60
    # Who makes its ids itself is believed: they may be the legs of a call in a queue.
    assert in_burst(Bursts(settings, ["calls"], switch_ids=["calls"]), calls) == 0


def test_an_id_that_is_used_again_later_is_another_call():
    """Calls that follow each other under one id are as many as they are."""
    bursts = Bursts(BurstSettings(window_s=600, calls=20), ["calls"])
    assert in_burst(bursts, one_id(30, 5_000, 3)) == 11


def test_the_legs_and_stages_of_a_call_count_once():
    """An attempt, three legs that overlap, and a CDR sent again; the next call counts again."""
    bursts = Bursts(SETTINGS, ["calls"])
    begin = {"started_at": T0_MS / 1000, "partition": 0, "waits_ms": 0, "caller": NUMBERS[0]}
    for number in range(4):
        legs = [
            {"call_id": f"c{number}"} | begin | {"stage": "attempt"},
            {"call_id": f"c{number}"} | begin | {"duration_s": 3},
            {"call_id": f"c{number}"} | begin | {"duration_s": 2, "callee": "+447700900301"},
            {"call_id": f"c{number}"} | begin | {"duration_s": 0, "callee": "+447700900302"},
            {"call_id": f"c{number}"} | begin | {"duration_s": 3, "waits_ms": 500},
        ]
        assert in_burst(bursts, legs) == (4 if number == 3 else 0)


def test_a_batch_that_is_read_again_counts_once():
    """However often a transaction is aborted, its calls are no more than they were."""
    bursts = Bursts(SETTINGS, ["calls"])
    for _ in range(9):
        found = looked(bursts, flood(NUMBERS[0], 2) + one_id(4, 0), T0_MS, first=500)[0]
        assert not any(in_burst for *_, in_burst in found)


def test_a_duration_that_no_call_has_is_not_short():
    """A record's number without sense costs nothing but itself."""
    bursts = Bursts(SETTINGS, ["calls"])
    assert in_burst(bursts, flood(NUMBERS[0], 20, duration_s=1.7e308)) == 0
    assert in_burst(bursts, flood(NUMBERS[0], 20, first=20, started_at=99_999_999_999)) > 0


def test_calls_that_a_file_brings_at_once_are_no_burst():
    """Kafka has them at one time; their own times are minutes apart, or they are a burst."""
    apart = [
        flood(NUMBERS[0], 1, first=place, started_at=T0_MS // 1000 + 300 * place)[0]
        for place in range(20)
    ]
    assert in_burst(Bursts(SETTINGS, ["calls"]), apart) == 0
    together = flood(NUMBERS[0], 20, started_at=T0_MS // 1000 - 7200)
    bursts = Bursts(SETTINGS, ["calls"])
    assert in_burst(bursts, together) == 17
    # A clock that was wrong once costs no more than the calls that are compared with it.
    wrong = flood(NUMBERS[0], 1, first=30, started_at=0)
    assert in_burst(bursts, wrong + flood(NUMBERS[0], 5, first=40, started_at=T0_MS // 1000)) == 2


def test_a_record_from_the_future_lets_no_innocent_number_be_watched():
    """A switch's clock was an hour ahead: windows go on by the times that follow it."""
    bursts = Bursts(SETTINGS, ["calls"])
    in_burst(bursts, flood(NUMBERS[1], 1), T0_MS + 3_600_000)
    for minute in range(30):
        in_burst(bursts, flood(NUMBERS[0], 1, first=minute), T0_MS + 60_000 * minute)
    (memory,) = bursts._memories.values()
    assert not memory.short


def test_what_is_held_is_bounded_and_the_quietest_go_first(monkeypatch):
    """Beyond what may be held numbers are forgotten, counted, and let pass: none is blocked."""
    monkeypatch.setattr(module, "CALLS_MAX", 40)
    bursts = Bursts(SETTINGS, ["calls"])
    many = [f"+4477009002{n:02d}" for n in range(50)]
    quiet = flood(many[0], 5)
    assert in_burst(bursts, quiet) == 2
    for number in many[1:]:
        in_burst(bursts, flood(number, 5))
    (memory,) = bursts._memories.values()
    assert memory.held == sum(map(len, memory.short.values())) <= 40
    assert bursts.forgotten >= 39
    assert in_burst(bursts, flood(many[0], 1, first=5)) == 0
    assert in_burst(bursts, flood(many[-1], 1, first=5)) == 1


def test_what_was_long_ago_counts_no_more_and_questions_never_did():
    """A window later a number starts at nothing; a lookup's call is no call."""
    bursts = Bursts(SETTINGS, ["calls"])
    assert in_burst(bursts, flood(NUMBERS[0], 9)) == 6
    assert in_burst(bursts, flood(NUMBERS[0], 1, first=9, stage="attempt"), T0_MS + 9_999) == 1
    assert in_burst(bursts, flood(NUMBERS[0], 1, first=9, stage="attempt"), T0_MS + 10_000) == 0
    assert in_burst(bursts, flood(NUMBERS[0], 1, first=9, stage="attempt"), T0_MS - 99_000) == 0
    assert in_burst(bursts, flood(NUMBERS[1], 99), topic="lookup") == 0


def test_partitions_are_apart_and_only_so_many_are_remembered(monkeypatch):
    """A call of another partition counts there; that which was quiet longest is forgotten."""
    monkeypatch.setattr(module, "PARTITIONS_MAX", 1)
    bursts = Bursts(SETTINGS, ["calls"])
    assert in_burst(bursts, flood(NUMBERS[0], 5) + flood(NUMBERS[0], 3, partition=1)) == 2
    assert in_burst(bursts, flood(NUMBERS[0], 1, first=7)) == 0
    assert len(bursts._memories) == 1
