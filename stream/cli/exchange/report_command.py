"""`ringfence report`: an agreement's promises and figures, as a page and as JSON.

Exit codes: 0 written, 1 there is no such agreement, or no report on that period, 2 wrong usage or
configuration, 3 the list store is down.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from stream.cli.common import settings_of
from stream.cli.options import ConfigFiles
from stream.cli.output import NOTHING_DONE, STDOUT, USAGE, fail, note, say, write_out
from stream.cli.store_access import with_list_store
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.core.model.agreement import Agreement, Agreements
from stream.insight.report.gather import gathered
from stream.insight.report.page import page
from stream.insight.report.pairs import ReportMaterial
from stream.insight.report.period import ReportPeriod, period_in
from stream.insight.report.report_json import report_json
from stream.insight.report.whole import AgreementReport, NoReport, period_for, reported
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s


def report(
    name: Annotated[
        str, typer.Argument(metavar="AGREEMENT", help="The name in `agreements list`.")
    ],
    period: Annotated[
        str | None,
        typer.Option(
            help="2026-11, 2026-Q4, 2026-W48, 2026-11-25, or 2026-11-01..2026-11-15. "
            "Default: the last complete period of the agreement's schedule."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file for the page. Default: report-AGREEMENT-PERIOD.html. `-` "
            "writes to stdout.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="For the figures as JSON. `-`: stdout.")
    ] = None,
    config: ConfigFiles = None,
) -> None:
    """Report on an agreement: what was promised, what happened, what to discuss next.

    Writes one self-contained HTML page (to mail or print), JSON, or both. Days are UTC days. The
    figures come from enforcement documents (`ringfence enforcement`), the audit log, the feeds and
    the appeals here. A figure that was not measured says so. Exit codes: 0 written, 1 the agreement
    does not exist or has no report on that period.

    Example: ringfence report th-kh --period 2026-11 --out th-kh.html --json th-kh.json
    """
    if output is not None and output == json_file:
        fail(f"{output}: the page and the JSON cannot both go there", USAGE)
    settings = settings_of(config)
    known = agreements_of(settings)
    agreement = _agreement(settings, known, name)
    asked = None if period is None else _period(period)
    at_s = now_s()
    try:
        on = period_for(agreement, asked, at_s)
    except NoReport as none:
        fail(str(none), NOTHING_DONE)

    async def work(store: ListStore) -> ReportMaterial:
        return await gathered(settings, store, agreement, known, on, at_s)

    made = reported(with_list_store(settings, work))
    if output is None and json_file is None:
        output = Path(f"report-{agreement.id}-{on.text()}.html")
    _tell(made, quiet=STDOUT in {output, json_file})
    if output is not None:
        _write(output, page(made).encode())
    if json_file is not None:
        _write(json_file, msgspec.json.format(msgspec.json.encode(report_json(made))) + b"\n")


def _agreement(settings: Settings, known: Agreements, name: str) -> Agreement:
    for held in known.held:
        if held.id == name:
            return held
    if not settings.agreements.dir:
        fail("there are no agreements: [agreements] dir names no folder", NOTHING_DONE)
    ids = ", ".join(held.id for held in known.held)
    return fail(f"no agreement {name}; known: {ids or 'there is none'}", NOTHING_DONE)


def _period(text: str) -> ReportPeriod:
    try:
        return period_in(text)
    except ValueError as error:
        return fail(str(error), USAGE)


def _tell(made: AgreementReport, *, quiet: bool) -> None:
    """The sentences of the page's beginning; on stderr where stdout is for the report itself."""
    tell = note if quiet else say
    tell(f"{made.agreement.id}: {made.period.words()}{', so far' if made.running else ''}")
    for sentence in made.summary:
        tell(f"  {': '.join(filter(None, (sentence.lead, sentence.text)))}")
    for point in made.points:
        tell(f"  {point.weight.name.lower()}: {point.text}")


def _write(place: Path, data: bytes) -> None:
    write_out(place, [data])
    if place != STDOUT:
        note(f"wrote {place}")
