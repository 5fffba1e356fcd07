"""Load all that the image may ever load, in its own environment: `python check_image.py KERNELS`.

Every module, every command's help, the kernels in a folder, a country's name. It ends with a
traceback where deploy/trim.py took too much, or `strip` left a library that cannot be loaded.
"""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from typer import Context
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import stream
from stream.cli.main import app
from stream.insight.report.words import country_name
from stream.ops.kernels import warm_up


def helps(command: TyperCommand | TyperGroup, above: Context | None = None) -> int:
    """Write the help of a command and of those below it; return how many."""
    context = Context(command, parent=above, info_name=command.name or "ringfence")
    assert command.get_help(context)
    if not isinstance(command, TyperGroup):
        return 1
    names = command.list_commands(context)
    return sum(helps(command.get_command(context, name), context) for name in names)


if __name__ == "__main__":
    # First: the import of a module with kernels compiles them, unless they were read before.
    status = warm_up(Path(sys.argv[1]), may_compile=False)
    assert not status.why_not, status.why_not
    modules = [
        found.name
        for found in walk_packages(stream.__path__, "stream.")
        if not found.name.endswith(".__main__")
    ]
    for module in modules:
        import_module(module)
    assert country_name("KH") == "Cambodia"
    commands = helps(get_command(app))
    sys.stdout.write(f"{len(modules)} modules, {commands} commands\n")
