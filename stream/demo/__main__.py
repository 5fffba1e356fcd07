"""`python -m stream.demo`: see Ringfence work, in under a minute; `--help` names the choices."""

import sys

from stream.demo.command import main

sys.exit(main(sys.argv[1:]))
