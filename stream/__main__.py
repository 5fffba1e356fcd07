"""`ringfence` and `python -m stream`."""

import errno
import gc
import os
import signal
import sys
from io import TextIOWrapper
from typing import NoReturn

CPUS = "/proc/cpuinfo"
INTERRUPTED = 130
"""Exit code after Ctrl-C: a shell's for SIGINT."""
_LEVEL_2 = frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"})
"""Features of x86-64-v2, as Linux names them. NumPy's wheels are compiled for it, and end with
SIGILL elsewhere, without a word. Processors have it since 2009; some models of virtual machines,
such as kvm64, have not."""
_YOUNG = 10_000
"""Objects after which Python looks for garbage. At Python's own 700, a service that starts searches
the loaded objects a thousand times, and finds no garbage. That is 0.16 of 1.4 s of CPU."""


_NO_ROOM = frozenset({errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC})
"""Errors of a write. They name no file where it is open already, as stdout is."""


def main() -> None:
    """Run the command that argv names; a fault becomes one line on stderr and an exit code."""
    gc.set_threshold(_YOUNG, 20, 100)
    open_missing_streams()
    show_every_character()
    if lacking := lacked():
        from stream.core.model.errors import UNUSABLE

        sys.stderr.write(
            f"error: this processor has no {', '.join(sorted(lacking))}, which Ringfence needs "
            "(x86-64-v2); for a virtual machine choose another model, such as `host`\n"
        )
        sys.exit(UNUSABLE)
    try:
        # Imported here: Ctrl-C while Python loads them prints no traceback either.
        from stream.cli.main import app
        from stream.cli.output import complain
        from stream.core.model.errors import Fault
        from stream.ops.stdin_arguments import joined

        sys.argv[1:] = joined(sys.argv[1:], sys.stdin.buffer)
        try:
            app()
        except Fault as fault:
            complain(fault)
            sys.exit(fault.exit_code)
        except OSError as error:
            if error.filename is None and error.errno not in _NO_ROOM:
                raise
            end_without_disk(error)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        # A second Ctrl-C while Python takes itself down would end in a traceback, or by the signal.
        # typer makes an exit code of the first one, so this has to be in every way out.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The process gives all its memory back at once. Looking for garbage in it first, as Python
        # does at its end, takes 0.1 s of CPU after the imports of a command.
        gc.freeze()


def open_missing_streams() -> None:
    """Open /dev/null for each of stdin, stdout and stderr that our parent has closed.

    Python has None there. The first socket that is opened would get the number, and whatever a
    library or a child prints would go to that server.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - for good


def show_every_character() -> None:
    r"""Print `\u0e01` for a character that stdout's encoding lacks, as Python does on stderr.

    A terminal may be Latin-1 (`LC_ALL=en_US.ISO-8859-1`), and the reason of an entry Thai.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def end_without_disk(error: OSError) -> NoReturn:
    """Say in one line what the disk refused, and end: it is no bug that needs a traceback."""
    from stream.core.model.errors import CRASHED

    where = error.filename or "what is written is not complete"
    sys.stderr.write(f"{type(error).__name__}: {where}: {error.strerror}\n")
    # What is left in the buffer goes nowhere, or Python complains of it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(CRASHED)


def lacked() -> frozenset[str]:
    """Return the features of x86-64-v2 that the first processor does not name."""
    if os.uname().machine != "x86_64":
        return frozenset()
    try:
        # As much as one processor takes: a kernel with a hundred needs milliseconds for all.
        with open(CPUS, "rb", buffering=0) as file:  # noqa: PTH123 - no import for a name
            text = file.read(8192).decode("ascii", "replace")
    except OSError:
        return frozenset()
    flags, whole, _ = text.partition("\nflags")[2].partition("\n")
    return _LEVEL_2 - frozenset(flags.split()) if whole else frozenset()


if __name__ == "__main__":
    main()
