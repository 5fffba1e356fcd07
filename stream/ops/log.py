"""The log: one JSON object a line on stderr, or a readable line on a terminal.

Numbers are personal data. Text that looks like one is masked on its way out, in message, fields and
tracebacks. So no caller of a logger has to think of it.
"""

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Final, TextIO

from stream.core.model.moments import rfc3339_ms
from stream.core.numbers.number import masked
from stream.ops.clock import monotonic_s

NUMBER: Final = re.compile(r"(?:\+|%2[Bb])(?:[ \-.()/]{0,2}\d){7,15}")
OURS: Final = "stream"
SELDOM_S: Final = 10.0
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def without_numbers(text: str) -> str:
    """Return `text` with each international number in it masked."""
    return NUMBER.sub(lambda found: masked(found.group()), text)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller gave as `extra=`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonLines(logging.Formatter):
    """`{"ts": ..., "level": ..., "event": ..., "logger": ..., <fields>, "error": <traceback>}`."""

    def __init__(self, always: dict[str, object]) -> None:
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, object] = {
            "ts": rfc3339_ms(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **self._always,
            **fields_of(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return without_numbers(json.dumps(line, default=str, ensure_ascii=False))


class RepeatFilter(logging.Filter):
    """Passes each message of a library once in `SELDOM_S`; ours always.

    aiokafka logs four messages 20 times a second for as long as a broker is away. The next line
    that passes says in `held_back` how many did not.
    """

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        super().__init__()
        self._clock = clock
        self._due_s: dict[tuple[str, str], float] = {}
        self._held: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written. Arguments do not tell messages apart."""
        if record.name.partition(".")[0] == OURS:
            return True
        message = (record.name, str(record.msg))
        now_s = self._clock()
        if now_s < self._due_s.get(message, now_s):
            self._held[message] += 1
            return False
        self._due_s[message] = now_s + SELDOM_S
        if held := self._held.pop(message, 0):
            record.held_back = held
        return True


def _console_handler(stream: TextIO) -> logging.Handler:
    """Return the handler of a terminal: time, level, event and fields, in colour."""
    # For a terminal alone: rich takes 0.04 s of CPU, and services seldom have one.
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.text import Text

    class ConsoleHandler(RichHandler):
        def format(self, record: logging.LogRecord) -> str:
            """Return the event, its fields and its traceback."""
            line = record.getMessage()
            given = " ".join(f"{name}={value}" for name, value in fields_of(record).items())
            if given:
                line = f"{line}  {given}"
            if record.exc_info:
                line = f"{line}\n{logging.Formatter().formatException(record.exc_info)}"
            return without_numbers(line)

        def render_message(self, record: logging.LogRecord, message: str) -> Text:  # noqa: ARG002
            """Return the text as it is: brackets in a message are no mark-up."""
            return Text(message)

    return ConsoleHandler(
        console=Console(file=stream, stderr=stream is sys.stderr),
        show_path=False,
        omit_repeated_times=False,
        log_time_format="%H:%M:%S",
        rich_tracebacks=False,
    )


def set_up(level: str, always: dict[str, object], stream: TextIO | None = None) -> None:
    """Send every log line to `stream` (stderr): for people if it is a terminal, else as JSON.

    `always` are fields of each JSON line, for example the worker. Libraries log from WARNING on.
    """
    stream = stream or sys.stderr
    handler: logging.Handler
    if stream.isatty():
        handler = _console_handler(stream)
    else:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JsonLines(always))
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(level)
    logging.captureWarnings(capture=True)
