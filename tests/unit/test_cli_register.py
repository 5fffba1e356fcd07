"""What commands of the register show while they work."""

import io
import time

from rich.console import Console

from stream.commands import register


def test_progress_says_how_fast_it_goes_and_how_long_it_takes(monkeypatch):
    """Each stage has its rate, bytes while a file is read and rows from then on, and its time."""
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=120)
    monkeypatch.setattr(register, "err", terminal)
    with register.progress() as stage:
        for done in range(11):
            stage("reading", done * 1_000_000, 10_000_000)
            stage("building", done * 10_000, 100_000)
            stage("sorting", done, 10)
            time.sleep(0.001)
    text = shown.getvalue()
    assert "MB/s" in text
    assert "rows/s" in text
    assert "0:00:0" in text
