"""Decision ids and the SIP answer."""

import msgspec
import numpy as np
import pytest

from stream.core import kernels
from stream.core.model.decision import (
    SipAnswerSettings,
    decision_ids,
    read_decision,
    seed_of,
    sip_answer,
)
from tests.support.decisions import decision


def ids(*rows: tuple[str, int, int, int, str]) -> list[str]:
    seeds = np.array([seed_of(topic, partition) for topic, partition, *_ in rows], np.uint64)
    rest = np.array([row[2:4] for row in rows], np.int64).reshape(-1, 2)
    numbers = np.array([row[4] for row in rows], "S16")
    return [one.decode() for one in decision_ids(seeds, rest[:, 0], rest[:, 1], numbers).tolist()]


def test_the_same_record_has_the_same_id():
    """A record that is worked on twice yields one id, whatever stands beside it in the batch."""
    row = ("calls", 3, 1_048_577, 1_795_564_428_000, "+447700900123")
    other = ("calls", 3, 1_048_578, 1_795_564_428_000, "+447700900123")
    assert ids(row)[0] == ids(other, row)[1]


def test_ids_are_13_characters_of_crockford():
    """Ids are short enough to read out on the phone and hold no letter that is misheard."""
    (written,) = ids(("calls", 0, 0, 0, ""))
    assert len(written) == 13
    assert set(written) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_anything_that_differs_changes_the_id():
    """Topic, partition, offset, timestamp and number each make another decision."""
    base = ("calls", 3, 7, 1000, "+447700900123")
    others = [
        ("calls.x", 3, 7, 1000, "+447700900123"),
        ("calls", 4, 7, 1000, "+447700900123"),
        ("calls", 3, 8, 1000, "+447700900123"),
        ("calls", 3, 7, 1001, "+447700900123"),
        ("calls", 3, 7, 1000, "+447700900124"),
        ("calls", 3, 7, 1000, ""),
    ]
    assert len(set(ids(base, *others))) == 1 + len(others)


def test_a_million_neighbours_do_not_collide():
    """Consecutive offsets of several partitions, as a topic has them, all get ids of their own."""
    count = 250_000
    seeds = np.repeat(np.array([seed_of("calls", n) for n in range(4)], np.uint64), count)
    offsets = np.tile(np.arange(count), 4)
    zero = np.zeros(4 * count, np.int64)
    made = decision_ids(seeds, offsets, zero, np.zeros(4 * count, "S16"))
    assert len(set(made.tolist())) == 4 * count


def test_a_kernel_gives_the_same_ids():
    """Ids do not tell whether the kernels were compiled where they were made."""
    rows = [("calls", n, n << 33, n << 20, "+447700900123"[: n % 14]) for n in range(200)]
    with kernels.reference_only():
        expected = ids(*rows)
    assert ids(*rows) == expected


def test_the_sip_answer_is_603_plus():
    """The Reason header carries the redress address with the decision's id (ATIS-1000099)."""
    settings = SipAnswerSettings("https://r.example/{decision_id}", "TN")
    answer = sip_answer("4F7K2M9QX1RZC", settings, 603)
    assert msgspec.to_builtins(answer) == {
        "code": 603,
        "phrase": "Network Blocked",
        "reason": 'SIP;cause=603;text="v=analytics1;url=https://r.example/4F7K2M9QX1RZC";'
        "location=TN",
    }


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://r.example/", "TN"),
        ('https://r.example/"{decision_id}', "TN"),
        ("https://r.example/{decision_id}", "XX"),
    ],
)
def test_a_header_that_no_proxy_could_read_is_refused(url, location):
    """A redress address without the id or with a quotation mark, and an unknown location."""
    with pytest.raises(ValueError, match=r"redress_url|sip_location"):
        SipAnswerSettings(url, location)


def test_the_deciding_lists_are_those_that_the_rule_names():
    """A list's rule names one, an agreement's all of its lists, a rule about the call none."""
    held = ("KH/scam=asean=loan", "PH/fraud=asean=loan", "TH/national==loan")
    deciding = {
        rule: [reason.list for reason in read.deciding()]
        for rule in ("list:TH/national", "agreement:asean", "rule:invalid_caller", "allowlist")
        if (read := read_decision(decision("+447700900101", *held, rule=rule, at_ms=0)))
    }
    assert deciding == {
        "list:TH/national": ["TH/national"],
        "agreement:asean": ["KH/scam", "PH/fraud"],
        "rule:invalid_caller": [],
        "allowlist": [],
    }
