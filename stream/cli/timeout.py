"""`--timeout`: how long a command waits for Kafka or Redis before it ends with exit code 3.

Every command that asks a server has it, given here and not by each of them, so that none can be
without. Services wait for ever: whoever starts them wants them to be there when Kafka is.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

TIMEOUT_S: Final = 15.0
SERVICES: Final = frozenset(
    {
        ("run",),
        ("serve",),
        ("serve-sip",),
        ("top",),
        ("exercise",),
        ("feeds", "run"),
        ("exchange", "run"),
        ("enforcement", "run"),
        ("sink", "redis"),
        ("sink", "webhooks"),
    }
)
"""They go on until they are stopped, and wait for servers meanwhile."""
LOCAL: Final = frozenset(
    {
        ("check-config",),
        ("warm",),
        *(("feeds", name) for name in ("check", "detect")),
        *(("agreements", name) for name in ("check", "ls", "show", "explain")),
        *(("circle", name) for name in ("new", "rotate", "retire", "ls")),
        *(("dialects", name) for name in ("ls", "detect", "test")),
        *(("token", name) for name in ("create", "list", "revoke")),
        *(("exchange", name) for name in ("init", "add-list", "resign", "status", "revoke")),
        *(("exchange", name) for name in ("verify", "serve-check", "bundle", "import-bundle")),
        *(("exchange", "key", name) for name in ("new", "ls", "rotate")),
        *(("exchange", "hub", name) for name in ("init", "add", "sync")),
        ("exchange", "follow"),
    }
)
"""They ask neither Kafka nor Redis; what they ask by HTTP has limits of its own."""


@dataclass(slots=True)
class Chosen:
    """What the command that runs was told; None: it waits for ever. `said`: that it waits."""

    seconds: float | None = None
    said: bool = False


CHOSEN: Final = Chosen()


def _chosen(value: float) -> None:
    CHOSEN.seconds = value


def _option() -> Any:
    """The option, as typer makes it of a command that has it."""
    only = typer.Typer(add_completion=False)

    @only.command()
    def _(
        timeout: Annotated[
            float,
            typer.Option(
                "--timeout",
                metavar="SECONDS",
                min=0.1,
                max=86_400.0,
                help="So long Kafka or Redis may not answer; then it ends with exit code 3.",
                expose_value=False,
                callback=_chosen,
            ),
        ] = TIMEOUT_S,
    ) -> None: ...

    return next(one for one in typer.main.get_command(only).params if one.name == "timeout")


def give(command: Any, path: tuple[str, ...]) -> None:
    """Give `command`, and each below it, the option if it asks a server."""
    if command is None:
        return
    inner = getattr(command, "commands", {})
    for name, one in inner.items():
        give(one, (*path, name))
    had = {one.name for one in command.params}
    # A group that does something by itself (`ringfence audit`) has settings as a command has.
    asks = "config" in had or not inner
    if asks and path not in SERVICES | LOCAL and "timeout" not in had:
        command.params.append(_option())
