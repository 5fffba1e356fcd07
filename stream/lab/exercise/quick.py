"""Commands as processes of their own that begin at once: forked from one that has them loaded.

A command typed by hand loads Python's modules first, 1.3 s on one core; an exercise has eighty of
them, and two cores. It is the same program with the same words, environment and exit code.
"""

import asyncio
import multiprocessing
import os
import runpy
import sys
import tempfile
import threading
from multiprocessing import forkserver
from pathlib import Path
from typing import Final

from stream.cli.main import COMMANDS
from stream.lab.demo.product import Said
from stream.ops.runtime import shorten_socket_paths

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_PLAIN: Final = {"TERM": "dumb", "COLUMNS": "160"}
"""A program reads the output: no colours, and lines as they are."""

_LOADED: Final = sorted({module for entry in COMMANDS.values() for module in entry.modules()})
"""All commands; services load what they need when they run."""

_ONE: Final = threading.Lock()
"""Starting a process also collects the exit codes of others, and a code can be read only once."""


def get_ready() -> None:
    """Start the process that has all commands loaded; it ends with this one."""
    shorten_socket_paths()
    _CONTEXT.set_forkserver_preload(_LOADED)
    before = {name: os.environ.get(name) for name in _PLAIN}
    os.environ.update(_PLAIN)
    forkserver.ensure_running()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


async def run(*words: str) -> Said:
    """`ringfence WORDS`, whatever it comes to. Cancelled, it ends the process."""
    with tempfile.TemporaryDirectory(prefix="ringfence-said-") as folder:
        printed = Path(folder) / "printed"
        process = _CONTEXT.Process(target=_main, args=(words, str(printed)), name="command")
        with _ONE:
            process.start()
        try:
            await _readable(process.sentinel)
        finally:
            with _ONE:
                if process.is_alive():
                    process.kill()
                process.join()
        assert process.exitcode is not None, "it was waited for"
        text = printed.read_text(errors="replace") if printed.exists() else ""
        return Said(process.exitcode, text)


async def _readable(sentinel: int) -> None:
    """Until the process has ended."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(sentinel)


def _main(words: tuple[str, ...], printed: str) -> None:
    """The process: both streams go to a file, and a terminal's Ctrl-C is for the exercise alone."""
    os.setsid()
    said = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["ringfence", *words]
    sys.modules.pop(
        "stream.__main__", None
    )  # it is there where the exercise itself was begun by it
    runpy.run_module("stream", run_name="__main__")
