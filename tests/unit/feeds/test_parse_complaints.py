"""Complaints by users of other blocklists, with ranges: tests/golden/complaints.

Each case is listed as a file's rows are, with the minimum lengths as they are shipped unless it
says otherwise, and then called from.
"""

import json
from pathlib import Path

import pytest

from stream.config.settings import load
from stream.core.filters.blocklists import fresh
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.decision import VERDICT_OF, Action
from stream.core.model.entry import Category
from stream.core.numbers.prefix_entries import PrefixRules
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.core.policy.policy_columns import PolicyColumns, judge
from stream.feeds.formats.rows import Rows
from stream.feeds.parse import Defaults, Parser
from tests.support.builders import NOW_S, blocklists, entry, numbers_of, snapshot

FILE = Path(__file__).parents[2] / "golden" / "complaints" / "ranges.json"
CASES = json.loads(FILE.read_text())
SHIPPED = load([], {}).lists.prefixes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["source"].split(":")[0])
def test_a_complaint_is_none_here(case):
    """Rows are refused with their reason, and each call is blocked or passes as users want it."""
    rules = PrefixRules(SHIPPED.default, {**SHIPPED.countries, **case.get("digits_min", {})})
    rows = Rows(range(1, len(case["listed"]) + 1), case["listed"], case["listed"])
    parsed = Parser(Defaults("file", NOW_S, case.get("region"), prefixes=rules)).parse(rows)
    refused = {row.original: row.wrong.label for row in parsed.rejected}
    assert refused == case.get("refused", {})

    held = [entry(text.decode()) for text in parsed.numbers.tolist()]
    spared = case.get("legitimate", ())
    held += [entry(t, category=Category.LEGITIMATE, source="desk") for t in spared]
    allow = Allowlist.of(AllowEntry(t, "clinic", "ops", NOW_S) for t in case.get("allowed", ()))
    lists = blocklists(fresh("KH/scam", b"", snapshot("KH/scam", held), NOW_S), allow=allow)
    numbers = numbers_of(case["calls"])
    judged = judge(
        lists.match(numbers, NOW_S), PolicyColumns.of(compile_policy(PolicySettings(), lists.names))
    )
    actions = dict(zip(judged.rows.tolist(), judged.actions.tolist(), strict=True))
    passes = lists.allow.allowed(numbers.e164, NOW_S).tolist()
    assert case["calls"] == {
        number: VERDICT_OF[Action(0 if passes[row] else actions.get(row, 0))].value
        for row, number in enumerate(case["calls"])
    }
