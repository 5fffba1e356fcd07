"""Promises that every command keeps: help, names, output, pipes, Ctrl-C."""

import contextlib
import csv
import errno
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from stream.cli import options
from stream.cli.lazy_group import OTHER_NAMES
from stream.cli.main import app
from stream.cli.output import Format

ROOT: Any = typer.main.get_command(app)
WRITES_FILES = {
    *("lists export", "lists diff", "lists at", "feeds diff", "traceback", "replay", "report"),
    *("support-bundle", "exchange bundle", "exercise"),
}
"""Their data has formats of its own, and goes where `-o FILE`, `--out` or `--format` says."""
SHOWS = {"list", "show", "status", "history", "held", "explain", "check", "detect", "verify"}
"""Verbs of commands that print data."""


def below(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command and group that can be typed, hidden ones too."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield f"{path}{name}", command
        if isinstance(command, TyperGroup):
            yield from below(command, f"{path}{name} ")


ALL = dict(below(ROOT))
GROUPS: dict[str, Any] = {path: one for path, one in ALL.items() if isinstance(one, TyperGroup)}
COMMANDS = {path: one for path, one in ALL.items() if path not in GROUPS or one.params}
VISIBLE = {path: one for path, one in COMMANDS.items() if not one.hidden}


def helped(path: str) -> str:
    """The help of a command."""
    done = CliRunner().invoke(app, [*path.split(), "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.stdout


def program(*words: str, **more: Any) -> "subprocess.Popen[bytes]":
    """`ringfence WORDS`, started."""
    return subprocess.Popen([sys.executable, "-m", "stream", *words], **more)


def test_help_shows_all_that_was_written() -> None:
    """No `[section]` is lost to markup, no word is cut, and an example can be typed."""
    for path, command in VISIBLE.items():
        told = " ".join(helped(path).split())
        texts = [command.help, *(one.help for one in command.params if one.name != "help")]
        for text in filter(None, texts):
            assert " ".join(text.split()) in told, path
        assert f"Example: ringfence {path}" in told or path == "exercise", path


def test_help_of_a_group_has_whole_sentences() -> None:
    """The list of commands cuts no line short."""
    for path in ("", *GROUPS):
        assert "..." not in helped(path).replace("[ARGS]...", ""), path


def test_an_empty_reason_is_none() -> None:
    """Where a reason is required, the audit has one."""
    required = {
        path: one
        for path, command in COMMANDS.items()
        for one in command.params
        if one.name == "reason" and one.required
    }
    assert {"lists delete", "feeds release", "traceback"} <= required.keys()
    for path in required:
        done = CliRunner().invoke(app, [*path.split(), "--reason", " "], env={"COLUMNS": "80"})
        assert (done.exit_code, "is empty" in done.output) == (2, True), path


def test_verbs_are_those_of_kubectl() -> None:
    """`list`, `show`, `create`, `delete`; other names of them are found, and shown nowhere."""
    for path, group in GROUPS.items():
        names = group.list_commands(None)
        assert not OTHER_NAMES.keys() & set(names), path
        for other, name in OTHER_NAMES.items():
            assert group.get_command(None, other) is group.get_command(None, name), path
        if "show" in names and path != "allow":
            assert "list" in names, path


def test_a_former_name_of_a_command_names_the_new_one() -> None:
    """It works as before, and says on stderr what to type from now on."""
    done = CliRunner().invoke(app, ["token", "new", "noc", "--role", "viewer", "--json"])
    assert done.exit_code == 0
    assert "`new` is `create` now" in done.stderr
    assert json.loads(done.stdout)["line"].startswith("noc viewer ")


def test_every_command_that_prints_data_prints_json_and_csv() -> None:
    """`-o table|json|csv`, and `--json` as before, on each but those that write files."""
    for path, command in COMMANDS.items():
        forms = [one for one in command.params if isinstance(one.default, Format)]
        has = {name for one in command.params for name in one.opts}
        if path.split()[-1] in SHOWS and path not in WRITES_FILES:
            assert forms, path
        for one in forms:
            assert one.opts == ["--output", "-o"], path
            assert "--json" in has, path
            assert path not in WRITES_FILES, path


@pytest.mark.parametrize("words", [["dialects", "list"], ["token", "list"], ["check-config"]])
def test_json_and_csv_say_the_same(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the CSV is an element of the JSON, under the same names."""
    monkeypatch.setenv("RINGFENCE_HTTP_TOKENS", f"noc viewer {'0' * 64}")

    def said(*more: str) -> str:
        return CliRunner().invoke(app, [*words, *more]).stdout

    assert said("--json") == said("-o", "json")
    value = json.loads(said("-o", "json"))
    head, *rows = csv.reader(said("-o", "csv").splitlines())
    if isinstance(value, list):
        assert head == [*value[0]]
        assert len(rows) == len(value)
    else:
        assert head == ["name", "value"]
        assert ["kafka.client_id", value["kafka"]["client_id"]] in rows


def test_a_pipe_gets_whole_words() -> None:
    """However narrow the terminal was: a row is a line, and no word is folded."""
    environ = os.environ | {"COLUMNS": "20"}
    with program("dialects", "list", stdout=subprocess.PIPE, env=environ) as command:
        said, _ = command.communicate()
    assert command.returncode == 0
    assert re.search(r"^ asterisk-csv +\S.* (scan|record) ", said.decode(), re.MULTILINE)


def test_no_colour_where_none_is_wanted() -> None:
    """NO_COLOR holds on a terminal, too."""
    told = {}
    for name, value in (("colour", ""), ("none", "1")):
        reader, writer = pty.openpty()
        environ = os.environ | {"TERM": "xterm-256color", "NO_COLOR": value}
        environ = {name: text for name, text in environ.items() if text}
        words = ("topics", "list", "--config", "/nowhere.toml")
        command = program(*words, stdout=writer, stderr=writer, env=environ)
        os.close(writer)
        told[name] = b""
        try:
            while data := os.read(reader, 4096):
                told[name] += data
        except OSError:  # how Linux ends a pty
            pass
        os.close(reader)
        assert command.wait() == 2
    assert b"\x1b[1;31m" in told["colour"]
    assert b"\x1b[1;31m" not in told["none"]
    assert b"\x1b[31m" not in told["none"]


def test_a_reader_that_left_is_no_error() -> None:
    """`| head` ends a command quietly, with a shell's code for SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    with program("check-config", stdout=writer, stderr=subprocess.PIPE) as command:
        os.close(writer)
        _, said = command.communicate()
    assert command.returncode == 141
    assert b"Traceback" not in said
    assert b"Exception" not in said


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_full_disk_is_one_line(form: str) -> None:
    """Fifty lines of traceback hide what it is; nothing is complained of at the end, either."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        words = ("dialects", "list", "-o", form)
        with program(*words, stdout=full, stderr=subprocess.PIPE) as command:
            _, said = command.communicate()
    assert command.returncode == 1
    line = "OSError: what is written is not complete: No space left on device"
    assert said.decode().splitlines() == [line]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """It names the folder."""
    (tmp_path / "file").write_text("")
    with program("init", str(tmp_path / "file" / "etc"), stderr=subprocess.PIPE) as command:
        _, said = command.communicate()
    assert command.returncode == 1
    path = tmp_path / "file" / "etc"
    assert said.decode().splitlines() == [f"NotADirectoryError: {path}: Not a directory"]


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_command_needs_no_open_stream(closed: int, tmp_path: Path) -> None:
    """Some daemons start programs with stdin, stdout or stderr closed (`<&-`)."""
    made = tmp_path / "schema.json"
    shut = partial(os.close, closed)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with program("config", "schema", "-o", str(made), preexec_fn=shut, **pipes) as command:
        _, said = command.communicate()
    assert (command.returncode, said) == (0, b"")
    assert json.loads(made.read_bytes())["type"] == "object"


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """`<(zcat numbers.csv.gz)` is a pipe: a second look at it finds nothing."""
    numbers = tmp_path / "numbers"
    os.mkfifo(numbers)
    text = "number\n" + "".join(f"+447700900{n % 1000:03d}\n" for n in range(20_000))
    with ThreadPoolExecutor(1) as thread:
        written = thread.submit(numbers.write_text, text)
        done = CliRunner().invoke(app, ["feeds", "check", str(numbers), "-o", "json"])
        written.result()
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["good"] == 20_000


def test_stdin_is_read_in_a_folder_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo -u ringfence` in a person's home: no name there can be looked at, and none has to."""

    def closed(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"number\n+447700900101\n")))
    monkeypatch.setattr(Path, "is_dir", closed)
    monkeypatch.setattr(Path, "exists", closed)
    context: Any = typer.Context(ROOT)
    with context:
        assert options.file_or_piped(context, Path("-")).read_text().startswith("number")


@pytest.mark.parametrize(
    "words", [["lists", "import", "TH/x", "-"], ["feeds", "check", "-"], ["why", "-"]]
)
def test_ctrl_c_prints_no_traceback(words: list[str], tmp_path: Path) -> None:
    """A command that waits for its stdin ends with a shell's code for SIGINT."""
    read, write = os.pipe()
    stderr = tmp_path / "stderr"
    with stderr.open("wb") as said:
        # A shell's background job ignores SIGINT, and hands that on to what it starts.
        heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        environ = os.environ | {"TMPDIR": str(tmp_path)}
        pipes = {"stdin": read, "stdout": said, "stderr": said}
        command = program(*words, env=environ, preexec_fn=heeds, **pipes)
    os.close(read)
    # More than a pipe holds: once all is written, it reads.
    for _ in range(20):
        os.write(write, b"\n" * 4096)
    code = None
    while code is None:
        command.send_signal(signal.SIGINT)
        # Python misses a signal right before it reads; a person presses the keys again.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = command.wait(timeout=2)
    assert code == 130
    assert not list(tmp_path.glob("ringfence-stdin-*")), "whole numbers"
    os.close(write)
    assert b"Traceback" not in stderr.read_bytes()
