"""Print data on stdout as a table, JSON or CSV, and everything else on stderr.

The one renderer of all commands: a command gives its data once, as plain values, and draws them for
a person. JSON and CSV have the same names, so a script may take either.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from stream.core.model import csv_cells
from stream.core.model.errors import ConfigInvalid, Fault

NOTHING_DONE, USAGE = 1, 2
"""Exit codes: nothing or only a part was done; what was asked for cannot be."""
STDOUT: Final = Path("-")
_PIPE_WIDTH: Final = 10_000
"""Columns where no terminal reads: a program that reads a table must not get half a word."""
_PRIVATE: Final = 0o600
"""Mode of files that we write: most have whole numbers."""


class Format(StrEnum):
    """Form of the data that a command prints."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class _Console(Console):
    """A console whose reader may leave: `ringfence ... | head`."""

    def on_broken_pipe(self) -> None:
        """Leave it to the group of all commands, which ends quietly."""
        raise BrokenPipeError


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


def render(form: Format, value: Any, draw: Callable[[], object], rows: str = "") -> None:
    """Print `value` as JSON or CSV, or have it drawn for a person.

    A row of the CSV is an element of `value`, or of `value[rows]`; of a table of single values, a
    name and a value. Cells that hold lists are JSON.
    """
    match form:
        case Format.TABLE:
            draw()
        case Format.JSON:
            print_json(value)
        case Format.CSV:
            plain = msgspec.to_builtins(value, str_keys=True)
            sys.stdout.write(csv_cells.lines(_cells(plain[rows] if rows else plain)))


def _cells(value: Any) -> Iterator[Iterable[object]]:
    """The header and the rows of a CSV."""
    if isinstance(value, Mapping):
        yield "name", "value"
        yield from ((name, _cell(one)) for name, one in _flat(value))
        return
    found = [dict(_flat(one)) for one in value]
    names = list(dict.fromkeys(name for one in found for name in one))
    if names:
        yield names
    yield from ([_cell(one.get(name)) for name in names] for one in found)


def _flat(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Names and single values of nested tables; `a.b` is `b` in the table `a`."""
    if not isinstance(value, Mapping):
        yield above or "value", value
        return
    for name, one in value.items():
        yield from _flat(one, f"{above}.{name}" if above else str(name))


def _cell(value: Any) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_cells.cell_of_list(value)
    return msgspec.json.encode(value).decode()


def print_json(value: Any) -> None:
    """Print one JSON document."""
    say(msgspec.json.format(msgspec.json.encode(value)).decode())


def print_line(value: Any) -> None:
    """Print one JSON object on a line of its own."""
    say(msgspec.json.encode(value).decode())


def print_row(cells: Iterable[Any]) -> None:
    """Print one row of CSV, for data that comes bit by bit."""
    sys.stdout.write(csv_cells.lines([map(_cell, cells)]))
    sys.stdout.flush()


def print_table(
    names: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Collection[str] = ()
) -> None:
    """Print rows below `names`; columns of figures in `right` stand to the right.

    On a terminal long cells are folded; elsewhere a row is a line. Texts are shown as they are:
    brackets of a partner's text are no markup.
    """
    columns = [
        Column(name, justify="right" if name in right else "left", overflow="fold")
        for name in names
    ]
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(one) if isinstance(one, str) else one for one in row))
    if out.is_terminal:
        out.print(table)
    else:
        _Console(file=out.file, width=_PIPE_WIDTH, highlight=False).print(table)


def say(text: str | Text) -> None:
    """Print a line of what was found or done."""
    out.print(text, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Print a line on stderr, of what was not done or what to know besides."""
    err.print(text, markup=False, soft_wrap=True)


def fail(text: str, code: int) -> NoReturn:
    """Say on stderr what is wrong, and end with `code`."""
    note(text)
    raise typer.Exit(code)


def complain(fault: Fault) -> None:
    """Print a fault on stderr: one line, or a line for each error of the configuration."""
    if isinstance(fault, ConfigInvalid):
        err.print(Text("configuration:", "bold red"), f"{len(fault.errors)} errors")
        for error in fault.errors:
            note(f"  {error}")
    else:
        err.print(Text(f"{type(fault).__name__}:", "bold red"), end=" ")
        note(str(fault))


def waiting(text: str) -> AbstractContextManager[object]:
    """Show a spinner on stderr while the block runs; nothing where stderr is no terminal."""
    # rich loads its live display for a spinner that nobody sees, too.
    return err.status(text) if err.is_terminal else nullcontext()


def warn_of_rejected(count: int, *, strict: bool) -> bool:
    """Warn of so many rejected rows of a file; return whether `--strict` makes them a failure."""
    if count:
        rows = "1 row was" if count == 1 else f"{count:,} rows were"
        told = "" if strict else "; --strict makes that exit code 1"
        note(f"warning: {rows} rejected{told}")
    return strict and count > 0


def write_out(output: Path | None, pieces: Iterable[bytes]) -> None:
    """Write pieces of a file into a file, or onto stdout for None and `-`.

    A new file is private to who runs the command. One that is there keeps its mode.
    """
    if output is None or output == STDOUT:
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
        return
    try:
        with open(output, "wb", opener=_private) as file:
            file.writelines(pieces)
    except OSError as error:
        fail(f"{output}: {error.strerror}", USAGE)


@contextmanager
def file_or_stdout(path: Path) -> Iterator[Path]:
    """Give the file to write: `path`; or for `-` a private one, sent to stdout at the end."""
    if path != STDOUT:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ringfence-stdout-") as folder:
        made = Path(folder) / "made"
        yield made
        write_out(STDOUT, [made.read_bytes()])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _PRIVATE)
