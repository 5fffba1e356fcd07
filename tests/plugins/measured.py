"""Measurements of the tests, under one heading at the end of the report: figures, not promises.

A whole `make test` keeps its own figures for the page "How we know".
"""

from collections.abc import Callable

import pytest

from tests.support.figures import record

PROPERTY = "measured"
WHOLE_RUN = "not campaign"
"""The marks that `make test` asks for."""


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`measured(figure)`: keep a figure for the end of the report (of a worker process, too)."""
    return lambda figure: record_property(PROPERTY, figure)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of all tests, those of failed ones too; keep those of a whole run."""
    option = terminalreporter.config.option
    if option.markexpr == WHOLE_RUN and not (option.keyword or option.file_or_dir):
        counts = {one: len(terminalreporter.getreports(one)) for one in ("passed", "skipped")}
        failed = len(terminalreporter.getreports("failed") + terminalreporter.getreports("error"))
        record("suite", {**counts, "failed": failed})
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    figures = [
        f"{report.nodeid.rpartition('::')[2]}: {figure}"
        for report in reports
        for name, figure in report.user_properties
        if name == PROPERTY
    ]
    if figures:
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.write_line(figure)
