"""A list's past, the audit and `why --at`, as an operator types them."""

import json
import time
from pathlib import Path

import pytest
import redis

from tests.support.commands import Operator, command

NAME = "KH/scam"
ONE, TWO = "+85523900123", "+85523900124"


@pytest.fixture
def operator(redis_url: str, tmp_path: Path) -> Operator:
    """An operator of a list: 1 made, 2 ONE added, 3 TWO added, 4 ONE removed."""
    owners = '[owners.KH]\ncontact = "unblock@cert.example"\n'
    operator = Operator.at(tmp_path, redis_url, owners, RINGFENCE_ACTOR="somchai")
    operator.types("lists", "create", NAME)
    operator.types("lists", "add", NAME, ONE, "--reason", "by hand")
    operator.types("lists", "add", NAME, TWO, "--reason", "by hand", "--confidence", "70")
    operator.types("lists", "remove", NAME, ONE, "--reason", "appeal 4711")
    return operator


def moments(operator: Operator) -> dict[int, str]:
    """The milliseconds of each generation, as TIME."""
    with redis.Redis.from_url(operator.redis_url, decode_responses=True) as client:
        return {
            int(fields["generation"]): _time(identity)
            for identity, fields in client.xrange("rf:changes")
            if fields["list"] == NAME
        }


def _time(identity: str) -> str:
    millis = int(identity.partition("-")[0])
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millis // 1000))
    return f"{whole}.{millis % 1000:03d}Z"


def test_history_diff_and_rollback(operator):
    """A list's history is shown, compared and undone; the audit names who and why."""
    rows = operator.asks("lists", "history", NAME)
    assert [(r["last"], r["what"], r["reason"]) for r in rows["history"]] == [
        *((4, "remove", "appeal 4711"), (3, "add", "by hand"), (1, "create", ""))
    ]
    assert rows["kept"] == [[1, 4]]
    assert "add x 2" in operator.types("lists", "history", NAME)
    diff = operator.types("lists", "diff", NAME, "2", "4")
    assert [line[:14] for line in diff.splitlines()] == [f"- {ONE}", f"+ {TWO}"]
    (gone,) = operator.types("lists", "diff", NAME, "3", "--format", "json").splitlines()
    assert json.loads(gone)["change"] == "removed"
    assert "2 at generation" not in operator.types(
        "lists", "rollback", NAME, "9", "--reason", "x", code=1
    )
    assert "empty" in operator.types("lists", "rollback", NAME, "2", "--reason", " ", code=2)
    said = operator.types("lists", "rollback", NAME, "2", "--reason", "a wrong appeal")
    assert "KH/scam is what it was at generation 2; it holds 1 numbers at generation 6" in said
    assert ONE in operator.types("lists", "export", NAME, "--format", "text")
    (entry,) = operator.asks("audit", "--limit", "1")
    assert (entry["actor"], entry["reason"], entry["generation"]) == (
        "somchai",
        "a wrong appeal",
        6,
    )
    assert '"of":2' in entry["detail"]
    assert "1 changes" not in operator.types("lists", "rebuild", NAME)
    assert operator.asks("lists", "repair", NAME, code=0)["standing"] == "unknown_here"


def test_a_list_at_a_moment(operator):
    """`lists at` writes the list of that time in an export format; bad times are refused."""
    then = moments(operator)
    assert operator.types("lists", "at", NAME, then[2], "--format", "text") == f"{ONE}\n"
    assert operator.types("lists", "at", NAME, then[4], "--format", "text") == f"{TWO}\n"
    head, row = operator.types("lists", "at", NAME, then[2]).splitlines()
    assert head.startswith("number,category,source")
    assert row.startswith(ONE)
    assert "not there yet" in operator.types("lists", "at", NAME, "2020-01-01", code=1)
    assert "2h for two hours ago" in operator.types("lists", "at", NAME, "yesterday", code=2)


def test_why_at_a_moment(operator):
    """`why --at` answers with the lists of then, whom to ask, and the number's history."""
    then = moments(operator)
    answer = operator.asks("why", ONE, "--at", then[2])
    assert (answer["call"]["verdict"], answer["lists"][0]["state"]) == ("block", "listed")
    assert answer["lists"][0]["ask"] == ["KH: unblock@cert.example"]
    told = [(t["generation"], t["what"], t["actor"], t["reason"]) for t in answer["history"]]
    assert told == [(2, "added", "somchai", "by hand"), (4, "removed", "somchai", "appeal 4711")]
    said = operator.types("why", ONE, "--at", then[2])
    assert "to have it taken off, ask KH: unblock@cert.example" in said
    assert "generation 4: removed (remove) by somchai: appeal 4711" in said
    assert operator.asks("why", ONE, "--at", then[4], code=1)["call"]["verdict"] == "allow"
    assert "history" not in operator.asks("why", TWO)
    assert len(operator.asks("why", TWO, "--history")["history"]) == 1


def test_what_is_not_known_of_then(operator):
    """A list whose changes of then are not kept is named with the reason, not passed over."""
    then = moments(operator)
    operator.types("lists", "rebuild", NAME)
    with redis.Redis.from_url(operator.redis_url) as client:
        client.xtrim("rf:changes", maxlen=1, approximate=False)
    answer = operator.asks("why", ONE, "--at", then[2], code=1)
    assert "not kept any more" in answer["not_known"][NAME]
    assert "is not known of then" in operator.types("why", ONE, "--at", then[2], code=1)
    unsure = "allow entries that were taken off since may be missing"
    assert unsure not in answer["register"]
    for what in ("add", "remove"):
        operator.types("allow", what, TWO)
    with redis.Redis.from_url(operator.redis_url) as client:
        client.xtrim("rf:changes", maxlen=0)
    assert unsure in operator.asks("why", ONE, "--at", then[2], code=1)["register"]
    operator.types("lists", "delete", NAME, "--reason", "by mistake")
    for _ in range(2):  # the second time with a new list of that name
        answer = operator.asks("why", ONE, "--at", then[2], code=1)
        assert "it was deleted at" in answer["not_known"][NAME]
        operator.invokes("lists", "create", NAME)
    assert not operator.asks("why", ONE, "--at", "2020-01-01", code=1)["not_known"]


def test_the_audit(operator):
    """Entries are chosen by list, actor and time, and numbers are masked."""
    operator.types("lists", "create", "TH/national", "--actor", "malee")
    assert [e["op"] for e in operator.asks("audit", "--list", NAME)] == [
        *("remove", "add", "add", "create")
    ]
    assert [e["list"] for e in operator.asks("audit", "--actor", "malee")] == ["TH/national"]
    assert len(operator.asks("audit", "--since", "1h", "--limit", "3")) == 3
    assert operator.asks("audit", "--since", "2200-01-01") == []
    (newest,) = operator.asks("audit", "--limit", "1")
    assert newest in operator.asks("audit", "--since", newest["at"]), "its own second counts"
    for ever in ("60000d", "999999w", "1200-01-01"):
        assert operator.asks("audit", "--since", ever) == operator.asks("audit")
    shown = operator.types("audit")
    assert "+8552***0123" in shown
    assert ONE not in shown


def test_the_audit_is_verified(operator):
    """A whole audit is whole; an entry that somebody took out or forged ends with 1 and where."""
    whole = operator.asks("audit", "verify")
    assert (whole["whole"], whole["first"], whole["last"]) == (True, 1, 4)
    head = whole["head"]
    operator.types("lists", "add", NAME, ONE)
    assert operator.asks("audit", "verify", "--head", head)["noted_entry"] == 4
    with redis.Redis.from_url(operator.redis_url) as client:
        items = client.xrange("rf:audit")
        client.xdel("rf:audit", items[2][0])
        assert "entry 3 is missing" in operator.types("audit", "verify", code=1)
        client.delete("rf:audit")
        for identity, fields in items[:-1]:
            client.xadd("rf:audit", fields, id=identity)
        assert "entry 5 is missing: cut off" in operator.types("audit", "verify", code=1)
        fields = {**items[-1][1], b"actor": b"malee"}
        client.xadd("rf:audit", fields, id=items[-1][0])
        assert "entry 5: was changed" in operator.types("audit", "verify", code=1)


@pytest.mark.parametrize(
    "words",
    [
        *(("lists", c) for c in ("history", "diff", "at", "rollback", "rebuild", "repair")),
        ("audit",),
        ("audit", "verify"),
    ],
)
def test_every_command_helps_with_an_example(words):
    """--help shows an example that can be typed."""
    assert f"Example: ringfence {' '.join(words)}" in command(*words, "--help").out
