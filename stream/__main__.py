"""`ringfence` and `python -m stream`."""

import sys

from stream.cli.main import app
from stream.cli.output import complain
from stream.core.model.errors import Fault
from stream.ops.stdin_arguments import joined


def main() -> None:
    """Run the command that argv names; a fault becomes one line on stderr and an exit code."""
    sys.argv[1:] = joined(sys.argv[1:], sys.stdin.buffer)
    try:
        app()
    except Fault as fault:
        complain(fault)
        sys.exit(fault.exit_code)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        sys.exit(141)


if __name__ == "__main__":
    main()
