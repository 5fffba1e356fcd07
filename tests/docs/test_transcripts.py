"""Every transcript of README and docs/: what is typed does what is shown, on real servers."""

import asyncio
import re
from pathlib import Path

import pytest

from stream.lab.embedded import RedisServer
from tests.docs.not_run import NOT_RUN, why_not
from tests.docs.play import clean, play
from tests.docs.shell import ROOT, Places
from tests.docs.transcripts import Command, by_kind, difference, moved, pages, steps
from tests.plugins.run_broker import RunBroker

PAGES = pages(ROOT)
# Two hundred commands, a process each. Those of README are tried in `make test`.
PLAYED = [
    pytest.param(page, marks=() if page.name == "README.md" else pytest.mark.campaign)
    for page in PAGES
]


@pytest.mark.apache_kafka
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PLAYED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_transcript_is_true(
    page: Path, tmp_path: Path, kafka: RunBroker, redis_server: RedisServer, redis_url: str
) -> None:
    """The output on a page is the real output, command by command."""
    asyncio.run(clean(kafka.bootstrap))
    folder = tmp_path / "page"
    folder.mkdir()
    places = Places(folder, kafka.bootstrap, redis_url, redis_server.url(15))
    for command, _, wrong in play(page, folder, places):
        assert not wrong, f"{page.relative_to(ROOT)}:{command.line}: {command.text}\n{wrong}"


def test_nothing_is_left_out_for_nothing() -> None:
    """Each command that is not run stands in a page, and each reason has its command."""
    typed = [
        step.text for page in PAGES for step in steps(page.read_text()) if isinstance(step, Command)
    ]
    assert not [
        pattern
        for pattern in NOT_RUN
        if not any(re.fullmatch(pattern, text, re.DOTALL) for text in typed)
    ]


def test_a_page_is_read_in_steps() -> None:
    """Commands with further lines, their outputs and files are found with their lines."""
    text = "`a.toml`:\n\n```toml\nx = 1\n```\n\n```console\n$ one |\n> two\nout\n$ three &\n```\n"
    file, first, second = steps(text)
    assert file.text == "x = 1\n"
    assert isinstance(first, Command)
    assert (first.line, first.text, first.shown) == (8, "one |\ntwo", ("out",))
    assert isinstance(second, Command)
    assert second.stays


def test_an_output_is_compared_by_its_kinds() -> None:
    """Times, ids and sizes may differ; words, counts and lines may not."""
    shown = Command(1, "x", ("at 2026-11-25T01:02:03Z, 80,379 bytes", "...", "end ... ok"))
    assert not difference(shown, "at 2026-11-27T09:00:00Z, 12 bytes\na\nb\nend with ok\n")
    assert difference(shown, "at 2026-11-27T09:00:00Z, 12 bytes\nend with no\n")
    assert difference(Command(1, "x", ("2 added",)), "3 added\n")
    assert by_kind("rule 6BQG6KQNDW9FJ") == "rule <id>"
    assert by_kind("# cursor 37b81ec3f0a1-13") == "# cursor <cursor>"


def test_days_move_with_the_reader() -> None:
    """A page's days lie as far from today as they lay from the documentation's day."""
    assert moved("2026-11-20 and 2025-09-01", 10) == "2026-11-30 and 2025-09-01"
    assert moved(moved("2026-11-20", 200), -200) == "2026-11-20"


def test_what_is_not_run_says_why() -> None:
    """A command that is not in the table is run."""
    assert why_not("make setup && . .venv/bin/activate")
    assert why_not("ringfence run &") is None
