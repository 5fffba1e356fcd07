"""Things on trial, and their promotion, in a real browser."""

import pytest
from playwright.async_api import expect

from stream.core.model.decision import Decision, Reason
from stream.core.model.on_trial import Target, TrialKind, TrialStatus
from stream.insight.trials.status import TrialCounts
from stream.lists.store.promotions import TrialStore
from tests.browser.conftest import Site
from tests.support.browser import XSS, Person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]
TRIAL = Target(TrialKind.LIST, "KH/trial")


def decision(number: str) -> Decision:
    reason = Reason(
        list=TRIAL.name, category="other", confirmed=True, confidence=90, generation=1,
        expires_at=None,
    )  # fmt: skip
    return Decision(
        decision_id=number, verdict="allow", simulated=True, rule=str(TRIAL), number=number,
        role="caller", call_id="c", caller=number, callee=None, reasons=[reason], sip=None,
        called_at=None, decided_at="2026-11-25T00:00:00.000Z", expires_at=None, origin="calls/0/0",
        would="block",
    )  # fmt: skip


async def counted(*_: object) -> TrialCounts:
    """Decisions of two numbers, as Kafka would have them."""
    figures = TrialCounts()
    for number in ("+999000001", "+999000002", "+999000002"):
        figures.add(decision(number))
    return figures


async def test_a_trial_is_compared_and_promoted(
    site: Site, viewer: Person, operator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer sees what it would have blocked and has no button; an operator says why and takes
    it into force, and the audit has who, why and the figures; and back.
    """
    monkeypatch.setattr("stream.web.page_caches.figures_between", counted)
    page = await viewer.open("/trials?count=1d")
    row = page.locator("tbody tr").filter(has_text=str(TRIAL))
    assert (await row.locator("td").all_inner_texts())[:4] == ["on trial", "3", "0", "2"]
    await expect(page.get_by_role("button", name="Promote")).to_have_count(0)
    await viewer.look("trials")

    page = await operator.open("/trials")
    await operator.look("trials-operator")
    form = page.locator("form.change").filter(has=page.locator(f"input[value='{TRIAL}']"))
    await form.get_by_label("Reason").fill(XSS)
    await form.get_by_role("button", name="Promote").click()
    await page.wait_for_selector("text=is in force, in every engine")
    await operator.harmless()
    register = await site.pages.list_store()
    (step,) = [one async for one in register.past.audit() if one.op == "promote"]
    assert (step.actor, step.reason) == ("page:operator", XSS)
    assert "would_block 3" in step.detail
    async with TrialStore.open(site.pages.settings.list_store()) as book:
        assert (await book.read()).trials.turned[TRIAL].standing is TrialStatus.FORCE
    form = page.locator("form.change").filter(has=page.locator(f"input[value='{TRIAL}']"))
    await form.get_by_label("Reason").fill("it blocks a bank")
    await form.get_by_role("button", name="Demote").click()
    await page.wait_for_selector("text=is on trial, in every engine")
    await operator.settled()
