"""The command: its options, and its one way out, for Ctrl-C as for success."""

import argparse
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from stream.lab.demo.stop import Stop, outcome_of

EXIT_WRONG, EXIT_USAGE, EXIT_FAILED = 1, 2, 3
INTERRUPTED = "Interrupted: everything that the demo started is stopped, its folder is removed."


def main(argv: list[str]) -> int:
    """Run the demo; its exit code. Whatever happens, nothing of it is left behind."""
    options = _options(argv)
    code, words = outcome_of(partial(_outcome, options), INTERRUPTED)
    if words:
        sys.stderr.write(f"{words}\n")
    return code


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stream.lab.demo",
        description="Five simulated countries, the real engine, and a judge that knows the truth. "
        "Exit code: 0 all right, 1 a wrong decision, 3 it did not run.",
        epilog='example: make demo DEMO_ARGS="--json figures.json --broker 127.0.0.1:9092"',
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the last frame as SVG")
    parser.add_argument(
        "--broker",
        default="auto",
        metavar="ADDR|kafka|tansu",
        help="start this kind of broker, or use yours at HOST:PORT (plaintext), in topics of the "
        "demo's own that are removed afterwards (default: the best that can be started here)",
    )
    parser.add_argument(
        "--redis",
        default="auto",
        metavar="URL|redis|valkey",
        help="start this kind of Redis, or use an empty database of yours: redis://HOST:PORT/DB",
    )
    parser.add_argument(
        "--calls",
        type=_count(1_000),
        default=330_000,
        metavar="N",
        help="records (default %(default)s)",
    )
    parser.add_argument(
        "--numbers",
        type=_count(100),
        default=100_000,
        metavar="N",
        help="numbers per list (default %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=2025, metavar="N", help="another world (default %(default)s)"
    )
    parser.add_argument("--plain", action="store_true", help="lines of text, no live picture")
    parser.add_argument(
        "--stay",
        action="store_true",
        help="start the page too, print its address and a token, and keep all of it until Ctrl-C",
    )
    return parser.parse_args(argv)


def _count(least: int) -> type[int]:
    def parse(text: str) -> int:
        count = int(text.replace(",", "").replace("_", ""))
        if count < least:
            raise argparse.ArgumentTypeError(f"at least {least}")
        return count

    return parse  # type: ignore[return-value]


def _outcome(options: argparse.Namespace, closing: ExitStack, stop: Stop) -> tuple[int, str]:
    """The exit code, and a last line for standard error ("" : none)."""
    # Only now, under the handlers: NumPy and aiokafka take a while to load.
    from stream.lab.demo.demo_run import session  # noqa: PLC0415
    from stream.lab.demo.product import DemoFailed  # noqa: PLC0415

    try:
        clean = session(options, closing, stop)
    except DemoFailed as error:
        return EXIT_FAILED, f"The demo did not run: {error}"
    return (0 if clean else EXIT_WRONG), ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
