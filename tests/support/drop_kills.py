"""Runs a drop folder in processes that are killed before their nth change of a name on disk."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream.feeds.transports.drop_folder import DropPlace
from stream.feeds.transports.folder import DropFolderSettings, FolderTransport
from stream.feeds.transports.transport import Fetched

VERDICTS = {"a.csv": DropPlace.DONE, "b.csv": DropPlace.REFUSED, "c.csv": DropPlace.HELD}


def killed_at_every_step(folder: Path) -> int:
    """The number of steps; each was the last of one process."""
    command = [sys.executable, "-m", "tests.support.drop_kills", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _main(folder: Path) -> None:
    for step in range(1, 1000):
        site = folder / str(step)
        (site / "drop").mkdir(parents=True)
        for number, name in enumerate(VERDICTS):
            (site / "drop" / name).write_text(f"{name}\n")
            (site / "drop" / f"{name}.done").write_text("")
            os.utime(site / "drop" / name, (1_700_000_000 + number,) * 2)
        survived = _in_a_child(site, step)
        assert _in_a_child(site, 0)
        _look(site)
        if survived:
            sys.stdout.write(f"{step}\n")
            return


def _in_a_child(site: Path, kill_at: int) -> bool:
    """Report whether it lived to its end. It is killed before its `kill_at`th change; 0: never."""
    pid = os.fork()
    if not pid:
        if kill_at:
            _arm(kill_at)
        asyncio.run(_work(site))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or not status, f"the child failed: {status}"
    return not os.WIFSIGNALED(status)


def _arm(kill_at: int) -> None:
    left = [kill_at]

    def armed(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **named: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **named)

        return changed

    for name in ("rename", "replace", "unlink", "mkdir", "open", "fsync"):
        setattr(os, name, armed(getattr(os, name)))


async def _work(site: Path) -> None:
    """One run of an ingest: fetch, decide, keep the verdict and the state, finish."""
    transport = FolderTransport(DropFolderSettings(path=str(site / "drop")))
    kept = site / "kept.json"
    while True:
        known = json.loads(kept.read_text()) if kept.exists() else {"remember": {}, "accepted": []}
        (site / "version").unlink(missing_ok=True)
        fetched = await transport.fetch(known["remember"], site / "version")
        if not isinstance(fetched, Fetched):
            return
        name = (site / "version").read_text().strip()
        if VERDICTS[name] is DropPlace.DONE:
            accepted = {"remember": dict(fetched.remember), "accepted": [*known["accepted"], name]}
            (site / "new.json").write_text(json.dumps(accepted))
            (site / "new.json").replace(kept)
        await transport.finish(fetched, VERDICTS[name], {"name": name}, f"{name}\n")


def _look(site: Path) -> None:
    """Each file is in its place once, with its report and companion, and was accepted once."""
    found = sorted(
        path.relative_to(site / "drop").as_posix()
        for path in (site / "drop").rglob("*")
        if path.is_file() and not path.name.startswith(".ringfence.lock")
    )
    endings = ("", ".done", ".report.json", ".report.txt")
    expected = sorted(
        f"{place}/{name}{ending}" for name, place in VERDICTS.items() for ending in endings
    )
    assert found == expected, (site, found)
    for name, place in VERDICTS.items():
        assert (site / "drop" / place / name).read_text() == f"{name}\n"
    assert json.loads((site / "kept.json").read_text())["accepted"] == ["a.csv"], site


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
