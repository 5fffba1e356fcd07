"""Mutation testing of the modules that decide: `python -m tests.mutation [SUBJECT ...] [--all]`.

mutmut changes one thing in a function at a time: a comparison, a number, an argument. A test must
fail each time. What mypy refuses counts for neither side: such a change could not land. Without a
subject those are tried whose modules differ from main.

Ends with 1 where a mutant survives that `explained.toml` does not name.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.mutation.subjects import SUBJECTS, Mutant, Subject, explanations, mutants_of
from tests.support.figures import ROOT, record

FOLDER = ROOT / "build" / "mutants"
"""Where mutmut works; it copies the tree into `mutants` below, and keeps results there."""
NEEDED = ("stream", "tests", "config", "deploy")
# Of the project's settings for mypy: mutmut's own wrappers have comments without a code, and a
# mutant's copy of `__init__` defines each attribute again.
_MYPY = ("--output=json", "--follow-imports=silent", "--no-warn-unused-ignores")
_WRAPPED = ("ignore-without-code", "no-redef")
_KILLED = ("killed", "timeout", "segfault")
_REFUSED = "caught by type check"


def main() -> int:
    """Try the mutants of the subjects that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], metavar="SUBJECT")
    parser.add_argument("--all", action="store_true", help=f"all of {', '.join(SUBJECTS)}")
    parser.add_argument("--children", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--results", action="store_true", help="only read what the last run left")
    given = parser.parse_args()
    names = list(SUBJECTS) if given.all else given.subjects or changed()
    if not names:
        print("no module that decides differs from main; --all tries all of them")
        return 0
    wanted = {name: SUBJECTS[name] for name in names}
    if not given.results:
        prepare(wanted.values())
        words = [sys.executable, "-m", "mutmut", "run", "--max-children", str(given.children)]
        if code := subprocess.run(words, cwd=FOLDER, check=False).returncode:
            return code
    left = [one for name, subject in wanted.items() for one in told(name, subject)]
    return 1 if left else 0


def changed() -> list[str]:
    """Return the subjects whose modules differ from main's."""
    words = ["git", "diff", "--name-only", "main", "--", "stream"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    files = set(done.stdout.split())
    return [name for name, one in SUBJECTS.items() if files & {str(path) for path in one.files()}]


def prepare(subjects: Iterable[Subject]) -> None:
    """Lay out a folder for mutmut: the tree by links, its settings, and the compiled kernels."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    kernels = FOLDER / "mutants" / "state" / "kernels"
    kernels.parent.mkdir(parents=True)
    for name in NEEDED:
        (FOLDER / name).symlink_to(ROOT / name)
    if (ROOT / "state" / "kernels").exists():
        shutil.copytree(ROOT / "state" / "kernels", kernels)
    (FOLDER / "pyproject.toml").write_text(_settings(list(subjects)))


def _settings(subjects: list[Subject]) -> str:
    """Return the project's settings, with modules, tests and mypy's command in those of mutmut."""
    text = (ROOT / "pyproject.toml").read_text()
    files = [str(path) for subject in subjects for path in subject.files()]
    disabled = [f"--disable-error-code={code}" for code in _WRAPPED]
    lines = {
        "only_mutate": files,
        "pytest_add_cli_args_test_selection": sorted({t for s in subjects for t in s.tests()}),
        "type_check_command": [sys.executable, "-m", "mypy", *_MYPY, *disabled, *files],
    }
    held = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    for code in _WRAPPED:
        text = text.replace(f'"{code}", ', "")
    return text.replace("[tool.mutmut]\n", f"[tool.mutmut]\n{held}")


def told(name: str, subject: Subject) -> Iterator[Mutant]:
    """Keep the subject's figures; print and yield the mutants that survived without a reason."""
    known, counts = explanations(), Counter[str]()
    for path in subject.files():
        statuses = _statuses(path)
        for mutant in mutants_of(path) if statuses else ():
            status = statuses[mutant.name]
            if status in _KILLED or status == _REFUSED:
                counts["refused" if status == _REFUSED else "killed"] += 1
            elif mutant.key in known:
                counts["explained"] += 1
            else:
                counts[status] += 1
                print(f"{status}: {mutant}")
                yield mutant
    tried = counts.total() - counts["refused"]
    killed = {"killed": counts["killed"], "killed_percent": 100 * counts["killed"] / max(tried, 1)}
    rest = {"mutants": tried, "refused": counts["refused"], "explained": counts["explained"]}
    left = tried - counts["killed"] - counts["explained"]
    record("mutants", {**killed, **rest, "unexplained": left}, name)
    print(f"{name}: {counts['killed']} of {tried} killed, {killed['killed_percent']:.1f} %")


def _statuses(path: Path) -> dict[str, str]:
    """Return the result of each mutant of a file, by mutmut's name."""
    from mutmut.stats import status_by_exit_code

    meta = FOLDER / "mutants" / f"{path}.meta"
    codes = json.loads(meta.read_text())["exit_code_by_key"] if meta.exists() else {}
    return {name: status_by_exit_code[code] for name, code in codes.items()}


if __name__ == "__main__":
    sys.exit(main())
