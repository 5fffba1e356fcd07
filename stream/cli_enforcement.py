"""`ringfence enforcement`: what partners' lists do here, and ours there, told back and forth."""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from stream.cli_base import print_json
from stream.cli_register import USAGE, fail
from stream.core.enforcement import DOCUMENT_BYTES_MAX, read
from stream.core.faults import DocumentUnreadable

app = typer.Typer(no_args_is_help=True, help="What partners' lists do here, and ours there.")
_SHA256 = re.compile(r"[0-9a-f]{64}\.")


@app.callback()
def about() -> None:
    """Nothing by itself: the commands do it."""


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A document as it lies in a repository.")],
) -> None:
    """Read a document as a partner would, and print it; what is wrong with it is named.

    Exit code 2: it can not be read, or is not what its name says.

    Example: ringfence enforcement show repository/targets/TH/enforcement/KH-scam/2026-11-25.json
    """
    *above, name = file.absolute().parts[-4:]
    target = "/".join([*above, _SHA256.sub("", name, count=1)])
    try:
        with file.open("rb") as opened:
            document: Any = read(opened.read(DOCUMENT_BYTES_MAX + 1), target)
    except OSError as error:
        fail(f"{file} can not be read: {error.strerror}", USAGE)
    except DocumentUnreadable as error:
        fail(str(error), USAGE)
    print_json(msgspec.to_builtins(document))
