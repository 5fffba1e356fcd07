"""`ringfence exercise`: its options, and its one way out, for Ctrl-C as for success."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.output import err, out
from stream.lab.demo.stop import Stop, outcome_of

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_RUN = 1, 2, 3
INTERRUPTED = "Interrupted: everything that the exercise started is stopped."
ALL = "all"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command: scenes by name (none: all), and a folder to keep everything in."""

    countries: int
    scenes: tuple[str, ...]
    keep: Path | None
    json: Path | None
    broker: str
    redis: str
    plain: bool


def exercise(
    countries: Annotated[
        int, typer.Option(min=3, max=5, help="Number of countries: TH, KH, PH, MM, VN.")
    ] = 5,
    scenario: Annotated[
        list[str] | None, typer.Option(help="The scenes to play. Repeatable. Default: all.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep settings, keys, repositories, logs and the report in this folder."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every step to FILE.")
    ] = None,
    broker: Annotated[
        str,
        typer.Option(
            metavar="ADDR|kafka|tansu",
            help="Start this kind of broker, or use yours at HOST:PORT. The exercise "
            "makes its own topics.",
        ),
    ] = "auto",
    redis: Annotated[
        str,
        typer.Option(
            metavar="URL|redis|valkey",
            help="Start this kind of Redis, or use empty databases of yours: "
            "redis://HOST:PORT/DB and the next ones, one per country.",
        ),
    ] = "auto",
    plain: Annotated[bool, typer.Option("--plain", help="Lines of text, no colours.")] = False,
) -> None:
    """Play joint training: separate Ringfences on this machine, scenes with known truth.

    Exit codes: 0 all checks passed, 1 one failed, 2 wrong usage, 3 it did not run.

    Example: ringfence exercise --countries 3 --scenario gang --keep training
    """
    from stream.lab.exercise.scenes import SCENES  # noqa: PLC0415 - no other command needs it

    names = tuple(name for name in scenario or () if name != ALL)
    known = {scene.name: scene for scene in SCENES}
    for name in names:
        if name not in known:
            err.print(f"no scenario {name}: {', '.join(known)}, or all", markup=False)
            raise typer.Exit(EXIT_USAGE)
    options = Options(countries, names, keep, json, broker, redis, plain)
    raise typer.Exit(_ended(options))


def _ended(options: Options) -> int:
    """Run it; its exit code. Whatever happens, no process of it is left behind."""
    code, words = outcome_of(partial(outcome, options), INTERRUPTED)
    if words:
        err.print(words, markup=False, soft_wrap=True)
    return code


def outcome(options: Options, closing: ExitStack, stop: Stop) -> tuple[int, str]:
    """The exit code, and a last line for standard error ("": none). Raises Interrupted."""
    # Only now, under the handlers: they take a while to load.
    from stream.lab.demo.product import DemoFailed  # noqa: PLC0415
    from stream.lab.exercise import session  # noqa: PLC0415

    try:
        held = session.session(options, closing, stop, out)
    except DemoFailed as error:
        return EXIT_NOT_RUN, f"The exercise did not run: {error}"
    return (0 if held else EXIT_FAILED), ""
