"""What every command and every worker pays for at its start."""

import subprocess
import sys

HEAVY = (
    "phonenumbers.geodata",
    "numba",
    "fastapi",
    "uvicorn",
    "opentelemetry.sdk.trace",
    "opentelemetry.exporter",
)
"""From 0.3 s and 40 MB each: for those who need them, when they need them."""


def test_commands_load_nothing_heavy():
    """`import stream.cli.main` loads none of it: workers of calls would carry it, too."""
    code = f"import sys, stream.cli.main; print([one for one in {HEAVY} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
