"""Run changes and long reads as our own commands, in a process each.

So page and HTTP do exactly what the command does. The process that answers lookups does none of the
work: another one reads, compares and writes a list of two million numbers, at lower priority than
calls. One change at a time; at most `LOOKS_MAX` reads. Numbers and reasons travel by a pipe, not in
argv, which other users of the machine can read.
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from stream.core.model.free_text import cleaned
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.lists.store.heads import By
from stream.ops.log import without_numbers
from stream.ops.stdin_arguments import parted

LOOKS_MAX: Final = 2
"""Reads at once: each may hold a whole list in memory."""
FILES_MAX: Final = 2
"""Files that are taken in at once: each is read by a process of up to [feeds] memory_mb_max."""
_FILES_S: Final = 30.0  # seconds that a file waits for its turn, else it is refused
_FILE_LINES: Final = 5_000
WITHIN_S: Final = 600.0
"""Seconds of a command: a rebuild of the largest list takes two minutes."""
JSON_LINES_MAX: Final = 500_000
"""Lines of an answer that is JSON, formatted for people: a report of 400 days has fewer."""
_LINE_BYTES_MAX: Final = 1 << 20  # a command's JSON may be one line
_SAID_LINES: Final = 20
_SAID_CHARS: Final = 500
"""Characters kept of a command's stderr, its end: the error is there."""
_NICE: Final = 10
"""Calls that are decided on the same machine go first."""
_RETRY_S: Final = 10
_CUT_LINES: Final = 1_000_000
"""Lines of an answer that are counted; a page says "more" beyond."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command's exit code, the lines asked for, the number of all, and the end of stderr.

    Lines are for people who may see their content; `said` of a read has no whole number.
    """

    code: int
    lines: tuple[str, ...]
    total: int
    said: str

    @property
    def json(self) -> Any:
        """The value that all lines give. Raises one of `UNREADABLE`."""
        return msgspec.json.decode("\n".join(self.lines))


@dataclass(slots=True)
class OwnCommands:
    """Run `ringfence ...`; `arguments` are those of every command, such as --config."""

    arguments: Sequence[str] = ()
    _files: asyncio.Semaphore = field(
        init=False, default_factory=lambda: asyncio.Semaphore(FILES_MAX)
    )
    _change: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    """Held by a change: two at once would both reserve a generation, and one would fail."""
    _looks: asyncio.Semaphore = field(
        init=False, default_factory=lambda: asyncio.Semaphore(LOOKS_MAX)
    )

    async def change(self, words: Sequence[str], by: By) -> Ran:
        """Run a change. Raises ProblemError while another change runs."""
        if self._change.locked():
            text = "another change from this page is being made; try again"
            raise ProblemError(ProblemKind.BUSY, text, retry_after_s=_RETRY_S)
        async with self._change:
            ran = await self._run([*words, f"--actor={by.actor}", f"--reason={by.reason}"], 0, 50)
        # Never of a read: a person who may read a page need not be one who may see whole numbers.
        return ran if ran.said else replace(ran, said="\n".join(ran.lines)[-_SAID_CHARS:])

    async def take(self, words: Sequence[str], by: By) -> Ran:
        """Run a command that takes a file into a list, after others. Raises ProblemError."""
        try:
            async with asyncio.timeout(_FILES_S):
                await self._files.acquire()
        except TimeoutError:
            text = "other files are being taken in; come again"
            raise ProblemError(ProblemKind.BUSY, text, retry_after_s=_RETRY_S) from None
        try:
            return await self._run(
                [*words, f"--actor={by.actor}", f"--reason={by.reason}"], 0, _FILE_LINES
            )
        finally:
            self._files.release()

    async def look(self, words: Sequence[str], first: int = 0, count: int = 1000) -> Ran:
        """Run a read; return `count` of its lines from `first` on. Raises ProblemError."""
        if self._looks.locked():
            text = "others read long answers just now; try again"
            raise ProblemError(ProblemKind.BUSY, text, retry_after_s=_RETRY_S)
        async with self._looks:
            ran = await self._run(words, first, count)
        return replace(ran, said=without_numbers(ran.said))

    async def _run(self, words: Sequence[str], first: int, count: int) -> Ran:
        if any(cleaned(word) != word for word in words):
            # A NUL would end the word for the command; and what it says comes back to a page.
            text = "a field has a character that is not to be seen; nothing was done"
            raise ProblemError(ProblemKind.MALFORMED, text)
        argv, rest = parted([*words, *self.arguments])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stream", *argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_BYTES_MAX,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "500", "TERM": "dumb"},
        )
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(rest)  # a pipe holds it: a form's fields are far shorter
        process.stdin.close()
        try:
            async with asyncio.timeout(WITHIN_S):
                # gather, not a TaskGroup: an error comes out as itself; then the process is killed.
                (lines, total), said = await asyncio.gather(
                    _some(process.stdout, first, count), _last(process.stderr)
                )
                await process.wait()
        except TimeoutError:
            text = f"it took longer than {WITHIN_S:.0f} s; what it had not begun was not done"
            raise ProblemError(ProblemKind.TOO_SLOW, text) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            # A command may end before it reads: until 3.11.4 asyncio logs that as an error.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.stdin.wait_closed()
        assert process.returncode is not None
        return Ran(process.returncode, lines, total, said)


async def _some(
    stream: asyncio.StreamReader, first: int, count: int
) -> tuple[tuple[str, ...], int]:
    """Return some of the lines, and how many there are if they are counted."""
    lines, total = [], 0
    async for line in stream:
        if first <= total < first + count:
            lines.append(line.decode(errors="replace").rstrip("\n"))
        total += 1
        if total >= _CUT_LINES:
            while await stream.read(_LINE_BYTES_MAX):
                pass
    return tuple(lines), total


async def _last(stream: asyncio.StreamReader) -> str:
    """Return the end of a stream."""
    lines: deque[str] = deque(maxlen=_SAID_LINES)
    async for line in stream:
        lines.append(line.decode(errors="replace").strip())
    return "\n".join(filter(None, lines))[-_SAID_CHARS:]
