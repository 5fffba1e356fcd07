"""A number's way as boxes: from the reporters of each list to the switch, with times."""

from typing import Any

from stream.web.pages.number_page import CHAINS_MAX, chains


def held(name: str, state: str = "listed", **changed: Any) -> dict[str, Any]:
    report = {"source": "police", "category": "loan", "reported_at": "2026-11-20T08:00:00Z"}
    return {
        "list": name,
        "state": state,
        "category": "loan",
        "agreement": None,
        "needs_agreement": False,
        "may": "block",
        "reports": [report | {"live": True}, report | {"source": "bank", "live": True}],
    } | changed


def why(*lists: dict[str, Any], key: dict[str, str] | None = None, **call: Any) -> dict[str, Any]:
    return {
        "lists": list(lists),
        "call": {"verdict": "block", "rule": "list:KH/scam", "would": None} | call,
        "decided": {"decisions": []},
        "sinks": {"key": {"held": key}},
        "history": [
            {"list": "KH/scam", "what": "added", "at": "2026-11-21T08:00:00Z"},
            {"list": "KH/scam", "what": "renewed", "at": "2026-11-22T08:00:00Z"},
        ],
    }


def test_a_chain_leads_from_the_reporter_to_the_switch() -> None:
    """Each box says what it is, since when, and the decision has its colour."""
    (chain,) = chains(why(held("KH/scam"), key={"entry": "+85531", "action": "block"}))
    told = [(box.step, box.name, box.more, box.at, box.mark) for box in chain.boxes]
    assert told == [
        ("Reported by", "police +1", "loan", "2026-11-20T08:00:00Z", ""),
        ("On list", "KH/scam", "", "2026-11-21T08:00:00Z", ""),
        ("Allowed by", "settings", "at most block", "", ""),
        ("Decision", "block", "by list:KH/scam", "", "bad"),
        ("Switch", "block by key", "bl:+85531", "", ""),
    ]


def test_lists_that_hold_it_no_more_have_no_chain() -> None:
    """A list that has an agreement or needs one says so; without any list, the decision is left."""
    agreed = held("MM/scam", "unconfirmed", agreement={"title": "T"}, reports=[])
    lists = (held("KH/scam", "removed"), agreed, held("PH/scam", needs_agreement=True))
    first, second = chains(why(*lists))
    assert [box.name for box in first.boxes[:3]] == ["unknown", "MM/scam", "T"]
    assert second.boxes[2].name == "no agreement"
    (alone,) = chains(why(held("KH/scam", "expired"), verdict="allow", rule="", would="block"))
    assert [box.step for box in alone.boxes] == ["Decision", "Switch"]
    assert alone.boxes[0].more == "would block"


def test_pictures_are_few_and_their_texts_fit() -> None:
    """A number on a hundred lists is four pictures; a long name ends in dots."""
    many = chains(why(*(held(f"KH/{n}" + "x" * 40) for n in range(100))))
    assert len(many) == CHAINS_MAX
    assert len(many[0].boxes[1].short) == 19
    assert many[0].boxes[1].short.endswith("…")
