"""Mutation testing of the modules that decide: `python -m tests.mutation [SUBJECT ...] [--all]`.

mutmut changes one thing in a function at a time: a comparison, a number, an argument. A test must
fail each time. What mypy refuses counts for neither side: such a change could not land. Without a
subject those are tried whose modules differ from main.

A subject's figures are kept for the page "How we know", also those of a sample that was drawn, with
its seed. Those of `--like`, for work on a few survivors, are not.

Ends with 1 where a mutant survives that `explained.toml` does not name.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.mutation.subjects import SUBJECTS, Mutant, Subject, explanations, mutants_of
from tests.support.figures import ROOT, record

FOLDER = ROOT / "build" / "mutants"
"""Where mutmut works; it copies the tree into `mutants` below, and keeps results there."""
FORKS = Path(__file__).with_name("forks.py")
CACHES = ROOT / "build" / "mutants-caches"
"""Of mypy, Numba and Hypothesis; they outlive the folder, as to fill them takes minutes of CPU."""
NEEDED = ("stream", "tests", "config", "deploy")
# Of the project's settings for mypy: mutmut's own wrappers have comments without a code, and a
# mutant's copy of `__init__` defines each attribute again.
_MYPY = (
    *("--output=json", "--follow-imports=silent", "--no-warn-unused-ignores"),
    f"--cache-dir={CACHES / 'mypy'}",
)
_WRAPPED = ("ignore-without-code", "no-redef")
_KILLED = ("killed", "timeout", "segfault")
_REFUSED = "caught by type check"
_LEFT_OUT = "skipped"
_SETTLED = {*_KILLED, _REFUSED, _LEFT_OUT}


def main() -> int:
    """Try the mutants of the subjects that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], metavar="SUBJECT")
    parser.add_argument("--all", action="store_true", help=f"all of {', '.join(SUBJECTS)}")
    parser.add_argument("--children", type=int, default=2 * (os.cpu_count() or 1), help="forks")
    parser.add_argument("--sample", type=int, help="try only so many of a subject, drawn by chance")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--like", default="", help="try only those with this in their names")
    given = parser.parse_args()
    names = list(SUBJECTS) if given.all else given.subjects or changed()
    if not names:
        print("no module that decides differs from main; --all tries all of them")
        return 0
    # -P: the folder of this package is not the first to import from.
    words = [sys.executable, "-P", str(FORKS), f"--children={given.children}"]
    words += [f"--seed={given.seed}", f"--like={given.like}"]
    words += [] if given.sample is None else [f"--sample={given.sample}"]
    survivors = 0
    for name in names:
        prepare(SUBJECTS[name])
        if code := subprocess.run(words, cwd=FOLDER, check=False).returncode:
            return code
        results = Results.of(SUBJECTS[name])
        for status, mutant in results.left:
            print(f"{status}: {mutant}")
        if not given.like:
            record("mutants", results.figures(given.seed), name)
        print(f"{name}: {results}")
        survivors += len(results.left)
    return 1 if survivors else 0


def changed() -> list[str]:
    """Return the subjects whose modules differ from main's."""
    words = ["git", "diff", "--name-only", "main", "--", "stream"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    files = set(done.stdout.split())
    return [name for name, one in SUBJECTS.items() if files & {str(path) for path in one.files()}]


def prepare(subject: Subject) -> None:
    """Lay out a folder for mutmut: the tree by links, its settings, and the caches."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "mutants").mkdir(parents=True)
    for name in NEEDED:
        (FOLDER / name).symlink_to(ROOT / name)
    # Hypothesis keeps the constants of each module there, and Numba the kernels of this folder.
    for name in ("state", ".hypothesis"):
        (CACHES / name).mkdir(parents=True, exist_ok=True)
        (FOLDER / "mutants" / name).symlink_to(CACHES / name)
    (FOLDER / "pyproject.toml").write_text(_settings(subject))


def _settings(subject: Subject) -> str:
    """Return the project's settings, with modules, tests and mypy's command in those of mutmut."""
    text = (ROOT / "pyproject.toml").read_text()
    files = [str(path) for path in subject.files()]
    disabled = [f"--disable-error-code={code}" for code in _WRAPPED]
    lines = {
        "only_mutate": files,
        "pytest_add_cli_args_test_selection": subject.tests(),
        "type_check_command": [sys.executable, "-m", "mypy", *_MYPY, *disabled, *files],
    }
    held = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    for code in _WRAPPED:
        text = text.replace(f'"{code}", ', "")
    return text.replace("[tool.mutmut]\n", f"[tool.mutmut]\n{held}")


@dataclass(frozen=True, slots=True)
class Results:
    """Counts of a subject's mutants by status; `left` are those that survived without a reason."""

    counts: Counter[str]
    left: list[tuple[str, Mutant]]

    @classmethod
    def of(cls, subject: Subject) -> Self:
        """Read what mutmut's files say."""
        known, counts = explanations(), Counter[str]()
        left = []
        for path in subject.files():
            statuses = _statuses(path)
            for mutant in mutants_of(path) if statuses else ():
                status = statuses[mutant.name]
                if status not in _SETTLED and mutant.key in known:
                    status = "explained"
                elif status not in _SETTLED:
                    left.append((status, mutant))
                counts[status] += 1
        return cls(counts, left)

    @property
    def made(self) -> int:
        """The number that mypy lets pass."""
        return self.counts.total() - self.counts[_REFUSED]

    @property
    def tried(self) -> int:
        """The number of those that were drawn."""
        return self.made - self.counts[_LEFT_OUT]

    @property
    def killed(self) -> int:
        """The number that a test noticed, also by an end of the process or of its time."""
        return sum(self.counts[status] for status in _KILLED)

    def figures(self, seed: int) -> dict[str, object]:
        """Return the figures that are kept; of the killed in per cent of those not explained."""
        return {
            "mutants": self.tried,
            "made": self.made,
            "drawn": "all" if self.tried == self.made else f"drawn with seed {seed}",
            "refused": self.counts[_REFUSED],
            "killed": self.killed,
            "killed_percent": 100 * self.killed / max(self.tried - self.counts["explained"], 1),
            "explained": self.counts["explained"],
            "unexplained": len(self.left),
            "timeouts": self.counts["timeout"],
        }

    def __str__(self) -> str:
        rest = f"{self.counts['explained']} explained, {self.counts['timeout']} by their time"
        return f"{self.killed} killed of {self.tried} tried of {self.made}; {rest}"


def _statuses(path: Path) -> dict[str, str]:
    """Return the result of each mutant of a file, by mutmut's name."""
    from mutmut.stats import status_by_exit_code

    meta = FOLDER / "mutants" / f"{path}.meta"
    codes = json.loads(meta.read_text())["exit_code_by_key"] if meta.exists() else {}
    return {name: status_by_exit_code[code] for name, code in codes.items()}


if __name__ == "__main__":
    sys.exit(main())
