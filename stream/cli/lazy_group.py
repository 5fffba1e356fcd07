"""A group of commands that are loaded when they are asked for, each by its name.

To load every command takes more than a second of CPU. `--version`, `--help` and completion need
the names and one line of each, which stand in a table; only the command that runs is imported.
"""

import gc
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Final

import typer
from typer._click import _textwrap
from typer.core import TyperCommand, TyperGroup

from stream.cli.options import CHOSEN, give
from stream.cli.output import note

# A help text is broken between words alone: `--dialect asterisk-csv` can be copied from it.
_textwrap.TextWrapper.wordsep_re = _textwrap.TextWrapper.wordsep_simple_re

RENAMED: Final = {"new": "create"}
"""Former names of commands, for one release; a command says so when it is typed by one."""
OTHER_NAMES: Final = {"ls": "list", **RENAMED}
"""Names that hands type, and the command meant; no help shows them."""
BROKEN_PIPE: Final = 141
"""Exit code when the reader left: a shell's for SIGPIPE, which Python turns into an exception."""


class Group(TyperGroup):
    """A group of commands, which also finds them by `OTHER_NAMES`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command `cmd_name`; None if there is none."""
        return super().get_command(ctx, OTHER_NAMES.get(cmd_name, cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that `args` begin with; note a former name."""
        if args and args[0] in RENAMED:
            note(
                f"`{args[0]}` is `{RENAMED[args[0]]}` now; the old name goes with the next release"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with the whole first paragraph of its help."""
        inner = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _summary(one)) for name, one in inner if not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _summary(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def group(cls: type[Group] = Group, **more: Any) -> typer.Typer:
    """Return a group that a module adds its commands to."""
    return typer.Typer(cls=cls, no_args_is_help=True, **more)


@dataclass(frozen=True, slots=True)
class Entry:
    """A command, or a group of them, by name.

    `line` stands in the list of commands, and is all the help that a group has. `targets` are
    "module:attribute" of a function, or of `typer.Typer`s that make one group together.
    """

    name: str
    line: str
    targets: tuple[str, ...]

    def modules(self) -> list[str]:
        """Return the modules that hold it."""
        return [target.partition(":")[0] for target in self.targets]

    def outline(self) -> TyperCommand:
        """Return the command as a list of commands shows it."""
        return TyperCommand(self.name, help=self.line, rich_markup_mode=None)


def table(*rows: tuple[str, ...]) -> dict[str, Entry]:
    """Return rows of name, line and targets as entries by name."""
    return {name: Entry(name, line, tuple(targets)) for name, line, *targets in rows}


@cache
def loaded(entry: Entry) -> Any:
    """Return the command itself, or the group; imports what it needs."""
    if len(entry.targets) > 1:
        return _Parts(entry)
    (target,) = entry.targets
    found = _named(target)
    # Plain help: with markup `[calls]` in a help text is a style, and vanishes.
    host = typer.Typer(add_completion=False, rich_markup_mode=None)
    if not isinstance(found, typer.Typer):
        host.command(entry.name)(found)
    elif found.registered_callback is not None:  # `ringfence audit` has a help of its own
        host.add_typer(found, name=entry.name)
    else:
        host.add_typer(found, name=entry.name, help=entry.line)
    command = typer.main.get_group(host).commands[entry.name]
    give(command, (entry.name,))
    return command


class _Parts(Group):
    """A group whose commands stand in several modules, loaded in order until one has the command.

    So the cheap modules come first in the table: `lists show` does not load what `lists import`
    reads files with.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__(
            name=entry.name, help=entry.line, no_args_is_help=True, rich_markup_mode=None
        )
        self._left = list(entry.targets)

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, so that all are loaded."""
        while self._left:
            self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command `cmd_name`, loaded; None if there is none."""
        cmd_name = OTHER_NAMES.get(cmd_name, cmd_name)
        while cmd_name not in self.commands and self._left:
            self._load()
        return super().get_command(ctx, cmd_name)

    def _load(self) -> None:
        assert self.name is not None, "an entry has a name"
        part = _named(self._left.pop(0))
        part.rich_markup_mode = None
        for name, command in typer.main.get_group(part).commands.items():
            give(command, (self.name, name))
            self.commands[name] = command


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    # Nothing that a module makes while it loads is garbage: looking for some, then or later, takes
    # a tenth of the CPU of a command's start.
    gc.disable()
    try:
        return getattr(import_module(module), name)
    finally:
        gc.freeze()
        gc.enable()


class LazyGroup(Group):
    """The commands of `entries`. `commands` has an outline of each, `get_command` loads it."""

    entries: ClassVar[dict[str, Entry]]

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._given = given
        self.commands = {name: entry.outline() for name, entry in self.entries.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer passes it
        """Return the command `cmd_name`, loaded; None if there is none."""
        CHOSEN.seconds, CHOSEN.said = None, False
        entry = self.entries.get(cmd_name)
        return None if entry is None else loaded(entry)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; end quietly where its reader has left."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # What is left in the buffer goes nowhere, or Python complains of it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(BROKEN_PIPE) from None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help from the outlines."""
        self._outlines().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete names and options from the outlines."""
        outlines = self._outlines()
        inner = typer.Context(outlines, parent=ctx.parent, info_name=ctx.info_name)
        return outlines.shell_complete(inner, incomplete)

    def _outlines(self) -> Group:
        """The same group of outlines alone."""
        return Group(**self._given | {"commands": self.commands})
