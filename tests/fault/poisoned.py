"""`ringfence run` with a bug: a record that holds POISON stops it, by an exception or by SIGKILL.

python -m tests.fault.poisoned raises|dies run --config FILE
"""

import importlib
import os
import signal
import sys
from typing import Any

POISON = b"poisoned"


class Bug(RuntimeError):
    """A fault without a name."""


def main() -> None:
    """Plant the bug and run the command that follows it."""
    from stream.__main__ import main as command

    deciding: Any = importlib.import_module("stream.engine.decider")
    how = sys.argv.pop(1)
    decode = deciding.decode

    def planted(raw: Any, **settings: Any) -> Any:
        if any(value is not None and POISON in value for value in raw.values):
            if how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            raise Bug("a record stops the worker")
        return decode(raw, **settings)

    deciding.decode = planted
    command()


if __name__ == "__main__":
    main()
