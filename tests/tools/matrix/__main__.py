"""The command: each version's run, and the table of those that passed."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.support.kafka_versions import VARIABLE
from tests.tools.matrix.fetch import NotHad, fetch_kafka, python, redis_folder, run
from tests.tools.matrix.table import Row, read, write
from tests.tools.matrix.versions import BASE, KAFKA, PYTHON, ROOT, VERSIONS, Version, tests_of

KNOWN = {one.name: one for one in VERSIONS}


def runs(only: Sequence[str]) -> Iterator[list[Version]]:
    """Yield the versions of each run: the base, then one other at a time."""
    base = [KNOWN[name] for name in BASE]
    wanted = [one for one in VERSIONS if not only or one.name in only]
    if any(one in base for one in wanted):
        yield base
    for other in wanted:
        if other not in base:
            yield [other if _kind(other) == _kind(one) else one for one in base]


def _kind(version: Version) -> str:
    return version.program if version.program in {KAFKA, PYTHON} else "Redis"


def tried(
    versions: Sequence[Version], new: Sequence[Version], jobs: int
) -> tuple[int, dict[str, str]]:
    """Run the tests that tell of the `new` ones.

    Returns how many passed, and each version in full. Raises NotHad, NotPassed.
    """
    kafka, redis, with_python = versions
    program, folder = python(with_python), redis_folder(redis)
    fetch_kafka(kafka)
    full = {
        kafka.name: kafka.source[0],
        redis.name: _says(folder / "redis-server"),
        with_python.name: _says(program),
    }
    report = ROOT / "build" / f"matrix-{new[0].number}.xml"
    report.parent.mkdir(exist_ok=True)
    command: list[str] = [
        *(str(program), "-m", "pytest", "-q", "-n", str(jobs), "--no-loadscope-reorder"),
        *("-m", "not campaign", f"--junitxml={report}"),
        *tests_of(new[0]),  # of the base: its Kafka's, which are all
    ]
    given = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", VARIABLE: kafka.source[0]}
    done = subprocess.run(command, check=False, cwd=ROOT, env=os.environ | given)
    if done.returncode:
        raise NotPassed(f"tests failed (pytest ended with {done.returncode})")
    suite = ET.parse(report).getroot()[0]  # noqa: S314 - pytest wrote it
    return int(suite.get("tests", 0)) - int(suite.get("skipped", 0)), full


def _says(program: Path) -> str:
    """Return the full version that a program says."""
    shown = run(program, "--version")
    found = re.search(r"\d+\.\d+\.\d+\w*", shown)
    return found[0] if found else shown.strip()


class NotPassed(Exception):
    """A test of this run failed."""


def row(version: Version, full: Mapping[str, str], passed: int) -> Row:
    """Return a version's row; `full` has the versions of the whole run."""
    others = (name for name in full if name != version.name)
    beside = ", ".join(f"{name.rpartition(' ')[0]} {full[name]}" for name in others)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return Row(version.name, full[version.name], beside, str(passed), day)


def main() -> int:
    """Run what was asked for and write the table; return how many runs did not pass."""
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__)
    parser.add_argument("--only", action="append", default=[], choices=KNOWN, metavar="VERSION")
    parser.add_argument("--jobs", type=int, default=2, help="tests at a time")
    asked = parser.parse_args()
    lacking: dict[str, str] = {}
    for versions in runs(asked.only):
        names = [one.name for one in versions]
        new = [one for one in versions if one.name not in BASE] or versions
        _say(f"{' with '.join(names)} ...")
        passed = None
        try:
            passed, full = tried(versions, new, asked.jobs)
        except (NotHad, NotPassed) as reason:
            lacking |= {one.name: f"{type(reason).__name__}: {reason}" for one in new}
        # Read only now: another run may have written meanwhile.
        rows = read()
        for one in new:
            rows.pop(one.name, None)
            if passed is not None:
                rows[one.name] = row(one, full, passed)
        write(rows)
    for name, why in lacking.items():
        _say(f"{name} has not passed: {why}")
    return len(lacking)


def _say(line: str) -> None:
    sys.stdout.write(f"matrix: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(min(main(), 1))
