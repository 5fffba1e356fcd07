"""A clock that the test moves, for processes that run: libfaketime in front of their C library.

Only what time of day it is moves. Their monotonic clock is the machine's, as when an operator or
NTP sets the clock.
"""

import subprocess
from pathlib import Path


class MovedClock:
    """The clock of the processes that are started with `env`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)
        shown = ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"]
        library = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.strip()
        self.env = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # The file is read again after a second: a process asks for the time all the time.
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, ahead_s: int) -> None:
        """Let it go so far ahead of the machine's; it jumps there within a second."""
        aside = self._file.with_suffix(".new")
        aside.write_text(f"{ahead_s:+d}s\n")
        aside.replace(self._file)
