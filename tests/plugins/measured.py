"""What the tests measured, under one heading at the end of the report: figures, not promises."""

from collections.abc import Callable

import pytest

PROPERTY = "measured"


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`measured(figure)`: keep a figure for the end of the report (of a worker process, too)."""
    return lambda figure: record_property(PROPERTY, figure)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of all tests, those of failed ones too."""
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
