"""Messages of commands on the list store while they work."""

import io
import time

from rich.console import Console

from stream.cli import progress_bars, store_access
from stream.core.numbers.prefix_entries import STRICT


def test_progress_says_how_fast_it_goes_and_how_long_it_takes(monkeypatch):
    """Each stage has its rate, bytes while a file is read and rows from then on, and its time."""
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=120)
    monkeypatch.setattr(progress_bars, "err", terminal)
    with progress_bars.progress() as stage:
        for done in range(11):
            stage("reading", done * 1_000_000, 10_000_000)
            stage("building", done * 10_000, 100_000)
            stage("sorting", done, 10)
            time.sleep(0.001)
    text = shown.getvalue()
    assert "MB/s" in text
    assert "rows/s" in text
    assert "0:00:0" in text


def test_an_extension_of_a_company_does_not_put_the_company_on_a_list(capsys):
    """`lists add` and `allow add` take no number that something to dial follows, and say why."""
    texts = ["+447700900123", "+447700900124;ext=9", "+447700900125,,9"]
    assert store_access.entries_in(texts, None, STRICT) == (["+447700900123"], 2)
    assert store_access.numbers_in(texts, None) == (["+447700900123"], 2)
    assert capsys.readouterr().err.count("an extension, a subaddress or digits to dial") == 4
