"""`ringfence simulate list`, `promote` and `demote`: from trial into force, and back.

Exit codes: 0 done, 1 nothing was done, 2 wrong usage or configuration, 3 the list store or Kafka
is down.
"""

import asyncio
from typing import Annotated, Any, Final

import typer

from stream.cli.common import say_waiting, settings_of, since_ms
from stream.cli.lazy_group import group
from stream.cli.options import Actor, ConfigFiles, Output, Reason
from stream.cli.output import USAGE, Format, fail, note, print_table, render, say
from stream.cli.progress_bars import progress
from stream.cli.store_access import by, with_list_store
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.core.model.moments import rfc3339
from stream.core.model.on_trial import Target, TrialKind, TrialStatus
from stream.insight.trials.promote import (
    OPS,
    Standings,
    appeals_about,
    figures_between,
    standings_now,
    turn,
)
from stream.insight.trials.status import Stands, TrialCount, TrialCounts
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s

app = group()
WINDOW: Final = "1d"
Since = Annotated[
    str, typer.Option("--from", metavar="TIME", help="Count decisions since: 7d, 2026-11-24.")
]
Thing = Annotated[
    str, typer.Argument(metavar="THING", help="list:KH/scam, agreement:th-kh, rule:NAME.")
]
WithFigures = Annotated[
    bool, typer.Option("--figures/--no-figures", help="Record its figures in the audit log.")
]


@app.command("list")
def list_(
    since: Since = WINDOW,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is in force by settings.")
    ] = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """List trials and promotions: since when, and what each would have done.

    The figures come from the decisions topic. `ringfence replay --from 1d --enforce-trials`
    estimates from the calls themselves what a trial would block wrongly.

    Example: ringfence simulate list --from 7d
    """
    settings = settings_of(config)
    from_ms = since_ms(since)

    async def work(store: ListStore) -> tuple[Standings, dict[Target, int]]:
        found = await standings_now(settings, store, agreements_of(settings), now_s())
        targets = [one.target for one in found.all if everything or one.is_told]
        return found, dict(await appeals_about(settings, targets, from_ms // 1000))

    found, appeals = with_list_store(settings, work)
    figures = asyncio.run(_figures(settings, from_ms))
    shown = [one for one in found.all if everything or one.is_told]
    told = {
        "from": rfc3339(from_ms // 1000),
        "decisions": figures.decisions,
        "trials": [_json(one, figures.of(one.target), appeals) for one in shown],
    }
    render(form, told, lambda: _print(shown, figures, appeals), rows="trials")


def promote(
    thing: Thing,
    reason: Reason,
    since: Since = WINDOW,
    figures: WithFigures = True,
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Put a trial in force in every running engine, without a restart.

    A promotion overrides `simulate` until you demote it. It never allows more than the settings and
    agreements do. The audit log records who did it, why, and the figures of the trial.

    Example: ringfence promote list:KH/scam --reason "a week without a wrong block"
    """
    _turn(settings_of(config), thing, TrialStatus.FORCE, reason, actor, since if figures else None)


def demote(
    thing: Thing,
    reason: Reason,
    since: Since = WINDOW,
    figures: WithFigures = True,
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Put something back on trial in every running engine: it decides, but does not act.

    Example: ringfence demote list:KH/scam --reason "blocks a bank, ticket 4711"
    """
    _turn(settings_of(config), thing, TrialStatus.TRIAL, reason, actor, since if figures else None)


def _turn(
    settings: Settings,
    thing: str,
    standing: TrialStatus,
    reason: str,
    actor: str | None,
    since: str | None,
) -> None:
    target = Target.read(thing)
    if target is None:
        kinds = ", ".join(f"{kind}:..." for kind in TrialKind)
        fail(f"{thing!r} is nothing that can be on trial: write {kinds}", USAGE)
    if not reason.strip():
        fail("--reason says why, and the audit keeps it", USAGE)
    counted: dict[str, int] = {}
    if since is not None:
        try:
            counted = asyncio.run(_figures(settings, since_ms(since))).of(target).plain()
        except Fault:
            note("nothing was done; --no-figures needs no Kafka, and leaves the figures out")
            raise
    who, agreed = by(actor, reason), agreements_of(settings)
    done = with_list_store(
        settings,
        lambda store: turn(settings, store, agreed, target, standing, who, counted, now_s()),
    )
    how = "in force" if standing is TrialStatus.FORCE else "on trial"
    say(f"{target} is {how} from now on, in every engine within seconds")
    if counted:
        say(f"  since {since}: {_told(counted)}")
    for remark in done.now.remarks:
        say(f"  {remark}")
    back = OPS[TrialStatus.TRIAL if standing is TrialStatus.FORCE else TrialStatus.FORCE]
    note(f"`ringfence {back} {target} --reason ...` takes it back; the audit has this step")


async def _figures(settings: Settings, from_ms: int) -> TrialCounts:
    with progress() as stage:
        return await figures_between(
            settings,
            from_ms,
            (now_s() + 1) * 1000,
            say_waiting,
            lambda done, whole: stage("decisions", done, whole),
        )


def _told(counted: dict[str, int]) -> str:
    return (
        f"it would have blocked {counted['would_block']:,} calls and flagged "
        f"{counted['would_flag']:,}, of {counted['numbers']:,} numbers; "
        f"{counted['stopped']:,} of its calls were blocked or flagged by something in force"
    )


def _json(one: Stands, tried: TrialCount, appeals: dict[Target, int]) -> dict[str, Any]:
    turned = one.turned
    return {
        "thing": str(one.target),
        "standing": one.standing.value,
        "settings_say": (TrialStatus.TRIAL if one.set_on_trial else TrialStatus.FORCE).value,
        "since": None if turned is None else rfc3339(turned.at_s),
        "by": None if turned is None else turned.actor,
        "reason": None if turned is None else turned.reason,
        "figures_then": None if turned is None else turned.figures,
        **tried.plain(),
        "numbers_complete": not tried.more_numbers,
        "appeals": appeals.get(one.target),
        "remarks": list(one.remarks),
    }


def _print(shown: list[Stands], figures: TrialCounts, appeals: dict[Target, int]) -> None:
    if not shown:
        say("Nothing is on trial, and nothing was promoted.")
        return
    right = ("would block", "would flag", "numbers", "stopped in fact", "appeals")
    rows = []
    for one in shown:
        tried, turned = figures.of(one.target), one.turned
        more = "+" if tried.more_numbers else ""
        since = "as the settings say" if turned is None else f"{rfc3339(turned.at_s)}"
        rows.append(
            (
                str(one.target),
                "on trial" if one.standing is TrialStatus.TRIAL else "in force",
                since,
                f"{tried.would_block:,}",
                f"{tried.would_flag:,}",
                f"{len(tried.numbers):,}{more}",
                f"{tried.stopped:,}",
                f"{appeals[one.target]:,}" if one.target in appeals else "",
            )
        )
    print_table(("thing", "stands", "since", *right), rows, right)
    for one in shown:
        if one.turned is not None:
            say(f"{one.target}: {one.turned.actor}: {one.turned.reason}")
        for remark in one.remarks:
            say(f"{one.target}: {remark}")
    note(
        f"{figures.decisions:,} decisions looked at; `ringfence replay --from 1d --enforce-trials` "
        "estimates what a trial would block wrongly"
    )
