"""A certificate that is good for a year."""

import subprocess
from pathlib import Path


def for_a_year(folder: Path) -> None:
    """`long.pem` and `long-key.pem`."""
    make = "req -x509 -days 365 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=long"
    files = ["-keyout", "long-key.pem", "-out", "long.pem"]
    subprocess.run(["openssl", *make.split(), *files], check=True, capture_output=True, cwd=folder)
