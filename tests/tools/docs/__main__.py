"""`python -m tests.tools.docs`: build the site; with an option write files that are committed."""

import argparse
import sys
from pathlib import Path

from tests.tools.docs import promises
from tests.tools.docs.build import build, write_fetched
from tests.tools.docs.settings import ROOT


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.docs", description=__doc__)
    parser.add_argument("--schemas", action="store_true", help="write docs/reference's files")
    parser.add_argument(
        "--figures",
        nargs="?",
        type=Path,
        const=promises.RUNS,
        help="keep the figures of runs in this folder, and write the page 'How we know'",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build/docs", help="where the site goes")
    given = parser.parse_args()
    if given.figures:
        promises.write(given.figures)
        return 0
    if given.schemas:
        write_fetched()
        return 0
    code = build(given.out)
    if code == 0:
        print(f"built {given.out}/index.html")  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main())
