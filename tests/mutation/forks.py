"""Mutants, each tried in a fork of one session of pytest; run as a script in mutmut's folder.

mutmut itself starts pytest and collects tests for each mutant, which takes longer than most tests.
Here the tests are collected once, and run once as they are: that shows which functions each test
reaches. The quickest of a mutant's tests run first, and the first failure ends them.

It imports nothing of `tests`: pytest imports the copies that are beside the mutants.
"""

import argparse
import gc
import os
import random
import resource
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from time import process_time, sleep
from typing import NamedTuple

import pytest
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.file_mutation import filter_mutants_with_type_checker
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import (
    change_cwd,
    copy_also_copy_files,
    copy_src_dir,
    setup_source_paths,
    walk_mutatable_files,
    walk_source_files,
)
from mutmut.utils.format_utils import mangled_name_from_mutant_name

NO_TESTS, LEFT_OUT, TIMEOUT, REFUSED = 33, 34, 36, 37
"""mutmut's codes; others are a process's: 0 where the mutant survives."""
CPU_S_LEAST = 20
"""A mutant's tests have this much CPU time, and ten times what they take without it."""
WALL_S = 300
"""And this much time by the clock, and ten times that CPU time."""
ASLEEP = 10
"""A mutant that is asleep at so many looks, a second apart, and used no CPU time, waits for ever.

A busy machine leaves a process without CPU too, but then it is ready to run, and not asleep.
"""
_LOOK_S, _POLL_S = 1.0, 0.02
"""Seconds between two looks at what runs, and between two questions for what has ended: to wait
for the next end alone would never find one that waits for ever."""
MEMORY_MAX = 4 << 30
"""Bytes of data of a mutant's process: a wrong size must not take the machine's memory."""


class _Look(NamedTuple):
    """A look at a process: its CPU time then, and how often it was found asleep since."""

    ticks: int
    asleep: int


class Forks:
    """Plug-in of pytest that runs the tests as they are, then those of each mutant in a fork."""

    def __init__(self, names: list[str], children: int) -> None:
        self.names = names
        self.children = children
        self.codes: dict[str, int] = {}
        self.running: dict[int, str] = {}
        self.looks: dict[int, _Look] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests, then the mutants; without any if a test fails as it is."""
        reached, cpu_s = self.reach(session)
        if session.testsfailed:
            return True
        # What the forks share stays as it is: their own collections of garbage leave it alone.
        gc.collect()
        gc.freeze()
        for place, name in enumerate(self.names):
            tests = sorted(reached[mangled_name_from_mutant_name(name)], key=cpu_s.__getitem__)
            if not tests:
                self.codes[name] = NO_TESTS
                continue
            if len(self.running) == self.children:
                self.wait()
            limit_s = 10 * sum(cpu_s[one] for one in tests)
            if pid := os.fork():
                self.running[pid] = name
            else:
                os._exit(_alone(session, name, tests, limit_s))
            if place % 50 == 0:
                os.write(2, f"{place} of {len(self.names)} mutants\n".encode())
        while self.running:
            self.wait()
        return True

    def reach(
        self, session: pytest.Session
    ) -> tuple[dict[str, list[pytest.Item]], dict[pytest.Item, float]]:
        """Run each test as it is; return the tests by function reached, and their CPU time."""
        reached, cpu_s = defaultdict(list), {}
        set_mutant_under_test("stats")
        for item, following in pairwise([*session.items, None]):
            assert item is not None, "only what follows the last is none"
            state()._stats.clear()
            begun_s = process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            cpu_s[item] = process_time() - begun_s
            for function in state()._stats:
                reached[function].append(item)
        return reached, cpu_s

    def wait(self) -> None:
        """Wait for the next mutant's end; end those that wait for ever."""
        polls = 0
        while not (ended := os.waitpid(-1, os.WNOHANG))[0]:
            sleep(_POLL_S)
            polls += 1
            if polls * _POLL_S >= _LOOK_S:
                polls = 0
                for pid in self.running:
                    self.look(pid)
        pid, status = ended
        code = os.waitstatus_to_exitcode(status)
        self.codes[self.running.pop(pid)] = TIMEOUT if code == -signal.SIGALRM else code
        self.looks.pop(pid, None)

    def look(self, pid: int) -> None:
        """End a process that was asleep at the last looks."""
        # Behind the name in parentheses: the state, and as 12th and 13th the ticks of CPU time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks, before = int(fields[11]) + int(fields[12]), self.looks.get(pid)
        idle = before is not None and fields[0] == "S" and ticks == before.ticks
        asleep = before.asleep + 1 if before is not None and idle else 0
        self.looks[pid] = _Look(ticks, asleep)
        if asleep == ASLEEP:
            os.kill(pid, signal.SIGALRM)


def _alone(session: pytest.Session, name: str, tests: list[pytest.Item], limit_s: float) -> int:
    """Run the tests on a mutant, in its own process; return the process's code."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    cpu_s = CPU_S_LEAST + int(limit_s)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))
    # Not caught by anything: the process ends, whatever the mutant waits for.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, WALL_S + limit_s)
    set_mutant_under_test(name)
    try:
        for item, following in pairwise([*tests, None]):
            assert item is not None, "only what follows the last is none"
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return 1
    except BaseException:  # noqa: BLE001 - a mutant may raise anything, SystemExit as well
        return 1
    return 0


def _keep_times() -> None:
    """Give each copy the time of its file: by that Numba knows the kernels it has compiled."""
    for path in walk_source_files():
        if not config().should_mutate(path):
            shutil.copystat(path, Path("mutants") / path)


def _metas() -> Iterator[SourceFileMutationData]:
    for path in walk_mutatable_files():
        meta = SourceFileMutationData(path=path)
        meta.load()
        yield meta


def main() -> int:
    """Make the mutants, ask mypy, try the rest, and keep the results as mutmut does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=int, required=True)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--like", default="")
    given = parser.parse_args()
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    with redirect_stdout(None):
        copy_src_dir()
        copy_also_copy_files()
        setup_source_paths()
        create_mutants(given.children)
    _keep_times()
    refused = filter_mutants_with_type_checker()
    metas = list(_metas())
    names = [
        name
        for meta in metas
        for name in meta.exit_code_by_key
        if name not in refused and given.like in name
    ]
    if given.sample is not None and given.sample < len(names):
        names = random.Random(given.seed).sample(names, given.sample)
    forks = Forks(names, given.children)
    # No timer of pytest's own, which would take the place of the mutants'. Output is kept in the
    # process: forks would share a file. Folders go with their tests: thousands would be left.
    arguments = ["--rootdir=.", "--tb=no", "-q", "--timeout=0", "--capture=sys"]
    arguments += ["-otmp_path_retention_policy=failed", *config().pytest_add_cli_args]
    with change_cwd("mutants"):
        code = pytest.main(
            [*arguments, *config().pytest_add_cli_args_test_selection], plugins=[forks]
        )
    for meta in metas:
        for name in meta.exit_code_by_key:
            other = REFUSED if name in refused else LEFT_OUT
            meta.exit_code_by_key[name] = forks.codes.get(name, other)
        meta.save()
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
