"""Commands of `ringfence`, typed in this process: one of its own costs each a second of CPU."""

import asyncio
import io
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from typer.testing import CliRunner

from stream.cli.main import app
from stream.cli.output import complain
from stream.core.model.errors import Fault
from tests.support.waiting import REDIS_S

PLAIN = {"COLUMNS": "200", "NO_COLOR": "1"}
"""Words are not broken into lines, whatever the terminal of the tests is."""


@dataclass(frozen=True, slots=True)
class Said:
    """Exit code and output of a command; the fault that `main` would have printed into `err`."""

    code: int
    out: str
    err: str
    fault: Fault | None = None

    @property
    def output(self) -> str:
        """All that it printed."""
        return self.out + self.err

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


def command(*words: str, env: Mapping[str, str] | None = None, piped: str | None = None) -> Said:
    """Run `ringfence WORDS` to its end, with the output and the exit code that `main` gives it."""
    given = {**PLAIN, **(env or {})}
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _invoked(words, given, piped)
    # A command runs a loop of its own, and a thread runs one loop at a time.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_invoked, words, given, piped).result()


def _invoked(words: tuple[str, ...], env: Mapping[str, str], piped: str | None) -> Said:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        done = CliRunner().invoke(app, words, env=env, input=piped)
    finally:
        # Some log to the stderr of the run, which ends with it.
        root.handlers[:], root.level = handlers, level
    if done.exception is None or isinstance(done.exception, SystemExit):
        return Said(done.exit_code, done.stdout, done.stderr)
    if not isinstance(done.exception, Fault):
        raise done.exception
    with redirect_stderr(io.StringIO()) as line:
        complain(done.exception)
    fault = done.exception
    return Said(fault.exit_code, done.stdout, done.stderr + line.getvalue(), fault)


class Operator:
    """Types commands with one settings file; `env` is what the shell has."""

    redis_url = ""

    def __init__(self, config: Path, **env: str) -> None:
        self.config = config
        self._env = env

    @classmethod
    def at(cls, folder: Path, redis_url: str, more: str = "", **env: str) -> Self:
        """Somebody with a list store, a state directory below `folder`, and `more` settings."""
        config = folder / "ringfence.toml"
        config.write_text(
            f'[redis]\nurl = "{redis_url}"\ntimeout_s = {REDIS_S}\n'
            f'[lists]\nstate_dir = "{folder}/state"\n{more}'
        )
        made = cls(config, **env)
        made.redis_url = redis_url
        return made

    def invokes(self, *words: str, piped: str | None = None) -> Said:
        """Run a command, whatever comes of it."""
        return command(*words, "--config", str(self.config), env=self._env, piped=piped)

    def types(self, *words: str, code: int = 0, piped: str | None = None) -> str:
        """Run a command that ends with `code`; what it printed, all of it if that is a failure."""
        done = self.invokes(*words, piped=piped)
        if done.fault is not None:
            raise done.fault
        assert done.code == code, done.output
        return done.out if code == 0 else done.output

    def asks(self, *words: str, code: int = 0) -> Any:
        """The JSON that a command answers with."""
        return json.loads(self.types(*words, "--json", code=code))
