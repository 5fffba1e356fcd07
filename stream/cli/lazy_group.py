"""A group of commands that are loaded when they are asked for, each by its name.

To load every command takes more than a second of CPU. `--version`, `--help` and completion need
the names and one line of each, which stand in a table; only the command that runs is imported.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from stream.cli.timeout import CHOSEN, give


@dataclass(frozen=True, slots=True)
class Entry:
    """A command, or a group of them, by name.

    `line` is what the list of commands says of it, and all the help that a group has. `targets`
    are "module:attribute" of a function, or of `typer.Typer`s that make one group together.
    """

    name: str
    line: str
    targets: tuple[str, ...]

    def modules(self) -> list[str]:
        """The modules that hold it."""
        return [target.partition(":")[0] for target in self.targets]

    def outline(self) -> TyperCommand:
        """The command as a list of commands shows it."""
        return TyperCommand(self.name, help=self.line)


def table(*rows: tuple[str, ...]) -> dict[str, Entry]:
    """Rows of name, line and targets, as entries by name."""
    return {name: Entry(name, line, tuple(targets)) for name, line, *targets in rows}


@cache
def loaded(entry: Entry) -> Any:
    """The command itself, or the group; imports what it needs."""
    if len(entry.targets) > 1:
        return _Parts(entry)
    (target,) = entry.targets
    found = _named(target)
    host = typer.Typer(add_completion=False)
    if not isinstance(found, typer.Typer):
        host.command(entry.name)(found)
    elif found.registered_callback is not None:  # `ringfence audit` has a help of its own
        host.add_typer(found, name=entry.name)
    else:
        host.add_typer(found, name=entry.name, help=entry.line)
    command = typer.main.get_group(host).commands[entry.name]
    give(command, (entry.name,))
    return command


class _Parts(TyperGroup):
    """A group whose commands stand in several modules, loaded in order until one has the command.

    So the cheap modules come first in the table: `lists show` does not load what `lists import`
    reads files with.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__(name=entry.name, help=entry.line, no_args_is_help=True)
        self._left = list(entry.targets)

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, so that all are loaded."""
        while self._left:
            self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command `cmd_name`, loaded; None if there is none."""
        while cmd_name not in self.commands and self._left:
            self._load()
        return super().get_command(ctx, cmd_name)

    def _load(self) -> None:
        assert self.name is not None, "an entry has a name"
        for name, command in typer.main.get_group(_named(self._left.pop(0))).commands.items():
            give(command, (self.name, name))
            self.commands[name] = command


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


class LazyGroup(TyperGroup):
    """The commands of `entries`. `commands` has an outline of each, `get_command` loads it."""

    entries: ClassVar[dict[str, Entry]]

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._given = given
        self.commands = {name: entry.outline() for name, entry in self.entries.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer passes it
        """The command `cmd_name`, loaded; None if there is none."""
        CHOSEN.seconds, CHOSEN.said = None, False
        entry = self.entries.get(cmd_name)
        return None if entry is None else loaded(entry)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help from the outlines."""
        self._outlines().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete names and options from the outlines."""
        outlines = self._outlines()
        inner = typer.Context(outlines, parent=ctx.parent, info_name=ctx.info_name)
        return outlines.shell_complete(inner, incomplete)

    def _outlines(self) -> TyperGroup:
        """The same group of outlines alone."""
        return TyperGroup(**self._given | {"commands": self.commands})
