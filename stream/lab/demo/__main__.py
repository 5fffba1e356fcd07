"""`python -m stream.lab.demo`: see Ringfence work; `--help` names the choices."""

import sys

from stream.lab.demo.command import main

sys.exit(main(sys.argv[1:]))
