"""Programs of others that build a release: run them, or build them by Go."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from stream import __version__

ROOT = Path(__file__).parents[3]
RELEASE = ROOT / "build" / "release"
WHEEL = f"ringfence-{__version__}-py3-none-any.whl"


class BuildFailed(Exception):
    """Something that the build needs is not there, or what it made is not right."""


def run(*words: str | Path, **environ: str) -> str:
    """Standard output of a program that must succeed. Raises BuildFailed with its last words."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=ROOT, env={**os.environ, **environ}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        command = " ".join(str(word) for word in words)
        raise BuildFailed(f"{command}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def go_program(name: str, module: str) -> Path:
    """A program from PATH, else built by Go into the user's cache; minutes, the first time."""
    if found := shutil.which(name):
        return Path(found)
    if not shutil.which("go"):
        raise BuildFailed(f"{name} is not there, and no Go to build it: go install {module}")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ringfence" / "bin"
    if not (cache / name).exists():
        say(f"building {module} ...")
        run("go", "install", module, GOBIN=str(cache))
    return cache / name


def wheel(to: Path) -> Path:
    """The wheel in the folder `to`, made by the locked build back end."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", to)
    return to / WHEEL
