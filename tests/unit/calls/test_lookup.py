"""A lookup gives the verdict that the stream gives, however many ask at once."""

import asyncio
import random
from typing import Any

import msgspec
import pytest

from stream.calls.decide import decide
from stream.calls.lookup import PACE_S, TEXT_MAX, Lookup, LookupStatus, Question
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS
from stream.core.policy.policy import PolicySettings
from stream.core.policy.rules import RuleSettings, RuleState, RuleStates
from stream.core.stir.certificates import signer_of, trust_of
from stream.core.stir.passport import FIELD_MAX
from stream.core.stir.verifier import Verifier
from stream.edge.http.lookup_routes import question_in
from stream.edge.http.problems import ProblemError
from stream.edge.http.tokens import ClientRole
from stream.kafka.batch import Partition, RawBatch
from tests.support.builders import NOW_S, blocklists, live, record_of, rules_for
from tests.support.http_service import bearer, parts_for, serve_settings, served
from tests.support.lookups import (
    LISTED,
    LISTS,
    NOW_MS,
    TRUNKS,
    decoded_lookup,
    lookup_in,
    lookup_rules,
    read,
)
from tests.support.signed_calls import ADDRESS, CALLER, Authority

PARTIES = [
    *(LISTED),
    *(f"+44770090{n:04d}" for n in range(0, 1000, 31)),
    *(
        "0812345678",
        "+66812345678",
        "191",
        "+66191",
        "sip:+447700900101@host",
        "anonymous",
        "+698812345678",
        "",
        "x" * 99,
    ),
    *("00447700900101", "+44 7700 900 102", "é", "tel:+447700900103"),
]


def questions(count: int) -> list[Question]:
    dice = random.Random(7)
    return [
        Question(
            caller=dice.choice(PARTIES) or "0",
            callee=dice.choice([*PARTIES, None]),
            trunk=dice.choice([None, "gb", "border", "unknown"]),
            ingress=dice.choice([None, "international", "domestic", "odd"]),
            call_id=f"c-{index}",
        )
        for index in range(count)
    ]


def by_the_stream(asked: list[Question]) -> list[dict[str, Any]]:
    """The same calls as records of one Kafka batch."""
    records = [record_of(question) for question in asked]
    raw = RawBatch.of(records, Partition("calls", 3), at_ms=NOW_MS)
    outcome = decide(decoded_lookup(raw), LISTS, lookup_rules(LISTS), NOW_MS).outcome()
    found = [msgspec.json.decode(value) for value in outcome.values if value is not None]
    return sorted(found, key=lambda decision: int(decision["call_id"][2:]))


def alike(decision: dict[str, Any]) -> dict[str, Any]:
    """Leave out what depends on where a record lay, such as id and origin."""
    sip = decision["sip"]
    answer = None if sip is None else sip["reason"].replace(decision["decision_id"], "")
    places = ("decision_id", "origin", "fail_open", "lists_followed", "sip")
    return {name: value for name, value in decision.items() if name not in places} | {"sip": answer}


async def test_the_verdict_is_the_streams() -> None:
    """Thousands of calls of all kinds: asked one by one, many at once, or as an array."""
    asked = questions(6000)
    expected = [alike(decision) for decision in by_the_stream(asked)]
    lookup = lookup_in(LISTS)
    one_by_one = await asyncio.gather(*(lookup.one(question, "") for question in asked))
    as_array = await lookup.many(asked, "")
    alone = [await lookup.one(question, "") for question in asked[:50]]
    for answers in (one_by_one, as_array, alone):
        decisions = [msgspec.json.decode(answer) for answer in answers]
        assert [alike(decision) for decision in decisions] == expected[: len(decisions)]
    everything = [*one_by_one, *as_array, *alone]
    ids = {msgspec.json.decode(answer)["decision_id"] for answer in everything}
    assert len(ids) == len(everything)
    kinds = {(decision["verdict"], decision["rule"]) for decision in expected}
    assert len(kinds) > 9, "the calls are of all kinds"


async def verdict_of(caller: str, **more: Any) -> tuple[str, str]:
    """The verdict and rule that a caller gets."""
    answer = await lookup_in(LISTS).one(Question(caller=caller, **more), "c")
    decision = msgspec.json.decode(answer)
    return decision["verdict"], decision["rule"]


async def test_every_number_that_a_caller_may_be_is_asked() -> None:
    """The strictest verdict counts: of a number in another's context, in two URIs, in a name."""
    listed, national = LISTED[5], "0" + LISTED[5].removeprefix("+44")
    blocked = ("block", "list:XA/first")
    assert await verdict_of(listed) == blocked
    for text in (f"sip:{national};phone-context=+49@h", f"<sip:+447700900999@h> <sip:{listed}@h>"):
        assert await verdict_of(text, trunk="gb") == blocked
    for text in (f"abc{listed}", f"{listed[:5]}~{listed[5:]}", f"{listed},9"):
        assert await verdict_of(text) == blocked
    assert await verdict_of(f"sip:{national};phone-context=+49@h") == ("allow", "none")


@pytest.mark.parametrize("listed", ["+912025550123", "+12025550123"])
async def test_digits_of_two_plans_are_both_on_lists(listed: str) -> None:
    """0091 and ten digits on a Thai trunk: whichever of the two is listed, the call is blocked."""
    lookup = lookup_in(blocklists(live("XA/first", listed, expires_at_s=NOW_S + 60)))
    answer = await lookup.one(Question(caller="00912025550123"), "c")
    assert msgspec.json.decode(answer)["rule"] == "list:XA/first"


async def test_a_guess_breaks_no_rule() -> None:
    """Digits in a name may be a listed number; they are no home number that calls from abroad."""
    assert await verdict_of("021234567", trunk="border") == (
        "block",
        "rule:home_number_from_abroad",
    )
    for text in ("user12345678", "pbx12345678-7", "room#1234567890"):
        assert (await verdict_of(text, trunk="border"))[1] == "rule:invalid_caller"


async def test_it_fails_open_and_says_so() -> None:
    """Without lists the verdict is allow, and the answer says on what it rests."""
    answer = msgspec.json.decode(
        await lookup_in(EMPTY_BLOCKLISTS, loaded=False).one(Question(caller=LISTED[1]), "id-1")
    )
    assert (answer["verdict"], answer["fail_open"], answer["lists_followed"]) == (
        "allow",
        True,
        False,
    )
    assert answer["call_id"] == "id-1"


async def test_a_rule_that_one_call_says_nothing_of_is_named() -> None:
    """A rule on a number's other calls needs the stream; the answer names the rule."""
    held = lookup_rules(LISTS)
    standing = LookupStatus(loaded=True, followed=True, rules_not_told=("short_bursts",))
    lookup = Lookup(
        read,
        lambda batch: decide(batch, LISTS, held, NOW_MS),
        lambda: standing,
        lambda: NOW_MS,
        TRUNKS,
    )
    answer = msgspec.json.decode(await lookup.one(Question(caller=LISTED[1]), ""))
    assert answer["rules_not_told"] == ["short_bursts"]


async def test_only_a_question_that_tells_of_a_signature_is_judged_by_it() -> None:
    """Else the rules are named; an empty `verstat` says that the call has none."""
    policy = PolicySettings(rules=RuleSettings(RuleStates(attestation_missing=RuleState.BLOCK)))
    held = rules_for(LISTS, policy, TRUNKS, emit_all=True)
    standing = LookupStatus(True, True, of_attestation=("attestation_missing",))
    lookup = Lookup(
        read,
        lambda batch: decide(batch, LISTS, held, NOW_MS),
        lambda: standing,
        lambda: NOW_MS,
        TRUNKS,
    )

    async def answer(**more: str) -> tuple[str, str, list[str] | None]:
        question = Question(caller="+447700900999", **more)
        said = msgspec.json.decode(await lookup.one(question, "c-1"))
        return said["verdict"], said["rule"], said.get("rules_not_told")

    assert await answer() == ("allow", "none", ["attestation_missing"])
    assert await answer(verstat="") == ("block", "rule:attestation_missing", None)
    assert await answer(attestation="B") == ("allow", "none", None)
    assert await answer(verstat="TN-Validation-Passed") == ("allow", "none", None)
    assert await answer(verstat="of a later standard") == ("allow", "none", None)


async def test_a_passport_in_a_question_is_verified() -> None:
    """Offline, against every number that its parties may be; without a verifier it says nothing."""
    root = Authority(NOW_S)
    one = root.signer()
    held = {ADDRESS: signer_of(one.pem, trust_of(root.pem), NOW_S)}
    block = RuleStates(attestation_failed=RuleState.BLOCK, attestation_missing=RuleState.BLOCK)
    rules = rules_for(LISTS, PolicySettings(rules=RuleSettings(block)), TRUNKS, emit_all=True)
    names = ("attestation_failed", "attestation_missing")

    async def answer(verifier: Verifier | None, **more: str) -> tuple[str, list[str] | None]:
        lookup = Lookup(
            read,
            lambda batch: decide(batch, LISTS, rules, NOW_MS),
            lambda: LookupStatus(True, True, of_attestation=names),
            lambda: NOW_MS,
            TRUNKS,
            verifier,
        )
        asked = {"caller": CALLER, "callee": "0812345678", **more}
        said = msgspec.json.decode(await lookup.one(Question(**asked), "c-1"))
        return said["rule"], said.get("rules_not_told")

    verifier = Verifier(lambda: held, 60.0, 1000.0, lambda _: None)
    genuine, forged = one.identity(NOW_S), root.signer().identity(NOW_S)
    assert await answer(verifier, passport=genuine) == ("none", None)
    assert await answer(verifier, passport=genuine, caller="tel:00447700900123") == ("none", None)
    assert await answer(verifier, passport=forged) == ("rule:attestation_failed", None)
    failed = {"passport": genuine, "verstat": "TN-Validation-Failed"}
    assert await answer(verifier, **failed) == ("rule:attestation_failed", None)
    assert await answer(verifier, passport="") == ("rule:attestation_missing", None)
    assert await answer(None, passport=forged) == ("none", [*names])
    long = "x" * (FIELD_MAX + 1)
    assert await answer(verifier, passport=long) == ("rule:attestation_failed", None)


@pytest.mark.parametrize("field", ["caller", "callee", "call_id", "verstat", "passport"])
async def test_no_length_hides_a_caller(field: str) -> None:
    """A caller writes these. An error would let his call go on."""
    long = {"caller": LISTED[5] + ";x=" + "a" * 20_000}.get(field, "a" * 20_000)
    question = Question(**({"caller": LISTED[5], "callee": "0812345678"} | {field: long}))
    assert question.wrong() is None
    said = msgspec.json.decode(await lookup_in(LISTS).one(question, "c-1"))
    assert (said["verdict"], said["number"]) == ("block", LISTED[5])
    assert len(said["call_id"]) <= TEXT_MAX


async def test_one_who_goes_away_takes_no_answer_from_others() -> None:
    """A question that is given up while others wait harms none of them."""
    lookup = lookup_in(LISTS)
    tasks = [asyncio.create_task(lookup.one(question, "")) for question in questions(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(answer, bytes) for answer in answers] == [True, True, False, True, True]


async def test_questions_within_a_millisecond_are_decided_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first after a pause is decided at once, those that follow it closely all in one batch."""
    loop, sizes = asyncio.get_running_loop(), []
    moment = [loop.time()]
    monkeypatch.setattr(loop, "time", lambda: moment[0])
    held = lookup_rules(LISTS)

    def counted(batch: Any) -> Any:
        sizes.append(len(batch))
        return decide(batch, LISTS, held, NOW_MS)

    lookup = Lookup(read, counted, lambda: LookupStatus(True, True), lambda: NOW_MS, TRUNKS)
    asked = questions(5)
    await lookup.one(asked[0], "")
    later = []
    for question in asked[1:4]:
        moment[0] += PACE_S / 4
        later.append(asyncio.create_task(lookup.one(question, "")))
        for _ in range(3):
            await asyncio.sleep(0)
    assert sizes == [1]
    moment[0] += PACE_S / 4
    await asyncio.gather(*later)
    moment[0] += PACE_S
    await lookup.one(asked[4], "")
    assert sizes == [1, 3, 1]


def test_a_plus_is_a_plus() -> None:
    """Switches write numbers as they are; %2B and %20 are read too."""
    question = question_in(b"caller=+447700900101&callee=%2B66%20812345678&trunk=")
    assert (question.caller, question.callee) == ("+447700900101", "+66 812345678")


@pytest.mark.parametrize(
    "query",
    [b"", b"caller=", b"calle=1", b"caller=1&caller=2", b"trunk=x", b"caller=1&trunk=%257d" % 1],
)
def test_a_question_that_can_not_be_asked(query: bytes) -> None:
    """A misspelt name is not a call without that field; the error names the fields."""
    with pytest.raises(ProblemError) as caught:
        question_in(query)
    assert caught.value.status == 400


async def test_both_ways_to_ask() -> None:
    """By GET, before the framework, and by POST: with a role, and 400 with the place of a fault."""
    parts = parts_for(serve_settings(), lookup=lookup_in(LISTS))
    async with served(parts) as http:
        ask = f"/v1/decision?caller={LISTED[5]}&callee=0812345678"
        async with http.client.get(ask, headers=bearer(ClientRole.SWITCH)) as answer:
            single = await answer.json()
            assert (answer.status, single["verdict"], single["sip"]["code"]) == (200, "block", 603)
            assert answer.headers["X-Request-Id"]
        for headers, status in (({}, 401), (bearer(ClientRole.PARTNER), 403)):
            async with http.client.get(ask, headers=headers) as answer:
                assert answer.status == status
        async with http.client.get("/v1/decision?x=1", headers=bearer(ClientRole.SWITCH)) as answer:
            assert answer.status == 400
        many = [{"caller": LISTED[5]}, {"callee": "0812345678"}]
        async with http.client.post(
            "/v1/decision", json=many, headers=bearer(ClientRole.VIEWER)
        ) as answer:
            assert [one["verdict"] for one in await answer.json()] == ["block", "allow"]
        for body, place in (([{"caller": 7}], None), ([{"caller": "1"}, {}], 1), ({}, None)):
            async with http.client.post(
                "/v1/decision", json=body, headers=bearer(ClientRole.VIEWER)
            ) as answer:
                problem = await answer.json(content_type="application/problem+json")
                assert answer.status == 400
                assert (problem.get("errors") or [{"index": None}])[0]["index"] == place
