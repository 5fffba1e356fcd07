"""The reference of the command line, from the commands themselves."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from stream.cli.main import app
from tests.tools.docs.markdown import code, escaped, fenced, page, table

PROGRAM = "ringfence"
Command = TyperCommand | TyperGroup
Parameter = TyperOption | TyperArgument
_NAMES = {str: "text", int: "whole number", float: "number", bool: "flag", Path: "path"}


def program() -> TyperGroup:
    """The whole tree of commands."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return root


def commands(group: TyperGroup, above: str = PROGRAM) -> Iterator[tuple[str, Command]]:
    """Each command and group below `group` with all its words, groups before what is in them."""
    for name, command in inside(group):
        yield f"{above} {name}", command
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{above} {name}")


def inside(group: TyperGroup) -> Iterator[tuple[str, Command]]:
    """The commands and groups right below `group`, by name, without the hidden ones."""
    context = typer.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        assert isinstance(command, TyperCommand | TyperGroup)
        if not command.hidden:
            yield name, command


def anchor(words: str) -> str:
    """The target of a command's section, for links from everywhere."""
    return "cli-" + words.removeprefix(PROGRAM).strip().replace(" ", "-")


def pages() -> dict[str, str]:
    """File name -> text: a page for each first word, and `index.md`."""
    root = program()
    found = {"index.md": _index(root)}
    for name, command in inside(root):
        words = f"{PROGRAM} {name}"
        parts = [_target(words), [f"# {words}", ""], _about(words, command)]
        if isinstance(command, TyperGroup):
            inner = list(commands(command, words))
            parts.append(_overview(inner))
            parts += [_section(path, one) for path, one in inner]
        found[f"{name}.md"] = "\n".join(line for part in parts for line in part).rstrip() + "\n"
    return found


def _index(root: TyperGroup) -> str:
    names = [name for name, _ in inside(root)]
    return page(
        "Command line",
        [
            "Every command with its arguments and options, generated from the commands.",
            "`ringfence COMMAND --help` shows the same.",
            "",
            escaped(root.epilog or ""),
            "",
        ],
        _overview(list(commands(root))),
        fenced("{toctree}", ":hidden:\n\n" + "\n".join(names)),
    )


def _overview(found: list[tuple[str, Command]]) -> list[str]:
    rows = [
        (f"[{code(words)}](#{anchor(words)})", escaped(_summary(command)))
        for words, command in found
    ]
    return table(("command", "what it does"), rows)


def _summary(command: Command) -> str:
    return " ".join((command.help or "").strip().split("\n\n")[0].split())


def _target(words: str) -> list[str]:
    return [f"({anchor(words)})="]


def _section(words: str, command: Command) -> list[str]:
    return [*_target(words), f"## {words}", "", *_about(words, command)]


def _about(words: str, command: Command) -> list[str]:
    """Help, usage, arguments and options of one command."""
    lines = []
    examples = []
    for paragraph in (command.help or "").strip().split("\n\n"):
        text = " ".join(paragraph.split())
        if text.startswith("Example:"):
            examples.append(text.removeprefix("Example:").strip())
        else:
            lines += [escaped(text), ""]
    if isinstance(command, TyperGroup):
        return lines
    usage = " ".join([words, *_usage(command)])
    lines += fenced("text", usage)
    shown = [one for one in command.params if isinstance(one, TyperOption | TyperArgument)]
    rows = [_parameter(one) for one in shown if not one.hidden]
    if rows:
        lines += table(("parameter", "value", "meaning"), rows)
    for example in examples:
        lines += ["For example:", "", *fenced("text", example)]
    return lines


def _usage(command: Command) -> list[str]:
    context = typer.Context(command)
    return command.collect_usage_pieces(context)


def _parameter(parameter: Parameter) -> tuple[str, str, str]:
    """A row: names, what is given, meaning."""
    names = [*parameter.opts, *parameter.secondary_opts]
    if isinstance(parameter, TyperArgument):
        names = [parameter.metavar or parameter.opts[0].upper()]
    meaning = [escaped((parameter.help or "").strip())]
    default = parameter.default
    if default not in (None, False, True, (), [], "") and not callable(default):
        meaning.append(f"Default: {code(str(getattr(default, 'value', default)))}.")
    if isinstance(parameter.envvar, str):
        meaning.append(f"Environment: {code(parameter.envvar)}.")
    return ", ".join(map(code, names)), _kind(parameter), " ".join(filter(None, meaning))


def _kind(parameter: Parameter) -> str:
    """Return the form of the value: a flag, one of some words, or a type with its limits."""
    if isinstance(parameter, TyperOption) and parameter.is_flag:
        return "flag"
    annotation = parameter.type_descriptor.annotation
    several = parameter.multiple or parameter.nargs != 1
    inner = [one for one in get_args(annotation) if one not in (type(None), ...)]
    kind = inner[0] if inner else annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        text = " or ".join(code(str(one.value)) for one in kind)
    else:
        text = _NAMES.get(kind, getattr(kind, "__name__", str(kind)))
    if parameter.min is not None or parameter.max is not None:
        ends = [str(one) for one in (parameter.min, parameter.max) if one is not None]
        text += f", {'at least ' if parameter.max is None else ''}{' to '.join(ends)}"
    return text + (", several" if several else "")
