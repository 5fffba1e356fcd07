"""The guard of one embedded server: starts it, obeys its owner, and cleans up after its owner.

Run as a program of its own, with the standard library only:
    python -I -S guard.py OWNER_PID FOLDER COMMAND...
It reads one order a line (start, poll, stop SECONDS) and answers each with one line: "PID running",
"PID exited CODE", or "0 cannot start: PROGRAM: REASON". When its owner is gone (end of orders, or
another parent), it kills the server and removes the folder. It lives in its own session, so Ctrl-C
in a terminal reaches the owner first. The server is still there while the owner finishes.

A parent-death signal alone would not do: Linux sends it when the *thread* that started the child
ends, and it removes no folder. The server gets one all the same, for the day the guard itself is
killed; the guard has one thread.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OWNER_CHECK_S = 1.0
PR_SET_PDEATHSIG = 1

Child = subprocess.Popen[bytes]


def start(folder: Path, command: list[str]) -> Child:
    """Start the server in its folder, which takes what it prints and its temporary files.

    A server that is killed cannot remove those: they go with the folder.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_guard() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_guard,  # noqa: PLW1509 - one thread here, so it is safe
        )


def stop(child: Child, wait_s: float) -> None:
    """End the server politely, by force after `wait_s`; wait_s = 0 is kill -9 at once."""
    if wait_s > 0:
        child.terminate()
        try:
            child.wait(wait_s)
        except subprocess.TimeoutExpired:
            child.kill()
    else:
        child.kill()
    child.wait()


def orders(owner_pid: int) -> Iterator[list[str]]:
    """Orders until the owner is gone; a fork of it may hold the pipe, so its pid is watched too."""
    pending = b""
    while os.getppid() == owner_pid:
        if not select.select([0], [], [], OWNER_CHECK_S)[0]:
            continue
        data = os.read(0, 4096)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from (line.decode().split() for line in lines)


def answer(child: Child | None) -> str:
    """Return the state of the server in one line."""
    code = None if child is None else child.poll()
    return "running" if child is not None and code is None else f"exited {code}"


def main(owner_pid: int, folder: Path, command: list[str]) -> None:
    """Obey until the owner is gone, then leave nothing behind."""
    # SIGTERM ends the guard by the same door as a dead owner.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    child: Child | None = None
    try:
        for order in orders(owner_pid):
            said = ""
            match order:
                case ["start"]:
                    try:
                        child = start(folder, command)
                    except OSError as error:  # no such program, or one that is none
                        said = f"0 cannot start: {error.filename}: {error.strerror}"
                case ["stop", seconds] if child is not None:
                    stop(child, float(seconds))
            said = said or f"{child.pid if child else 0} {answer(child)}"
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
    finally:
        if child is not None:
            stop(child, 0)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
