"""`ringfence` and `python -m stream`."""

import signal
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C: a shell's for SIGINT."""


def main() -> None:
    """Run the command that argv names; a fault becomes one line on stderr and an exit code."""
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
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        # A second Ctrl-C while Python takes itself down would end in a traceback, or by the signal.
        # typer makes an exit code of the first one, so this has to be in every way out.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
