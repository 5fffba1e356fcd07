"""Programs that tests start: each has a mark, and a test that starts one carries it.

A test whose program is missing is skipped, with the command that installs it. So that none fails
on a bare machine instead, a test that starts a program without its mark fails on every machine.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

KAMAILIO = (
    "apt-get install kamailio kamailio-redis-modules kamailio-json-modules "
    "kamailio-utils-modules kamailio-extra-modules"
)
PROGRAMS = {
    "needs_promtool": ("promtool", "apt-get install prometheus"),
    "needs_systemd": ("systemd-analyze", "apt-get install systemd"),
    "needs_openssl": ("openssl", "apt-get install openssl"),
    "needs_nginx": ("nginx", "apt-get install nginx-light"),
    "needs_kamailio": ("kamailio", KAMAILIO),
    "needs_chromium": ("chromium-headless-shell", "apt-get install chromium-headless-shell"),
    "needs_git": ("git", "apt-get install git"),
    "needs_sipp": ("sipp", "apt-get install sip-tester"),
    "needs_helm": ("helm", "go install helm.sh/helm/v3/cmd/helm@v3.22.0"),
    "needs_kubernetes": ("kube-apiserver", "see docs/decisions/0139-helm-chart.md"),
    "needs_faketime": ("faketime", "apt-get install faketime"),
    "needs_etcd": ("etcd", "apt-get install etcd-server"),
}
# Every Unix has the shells; the product asks for the others, and has something else without.
_ALWAYS = re.compile(r"python[\d.]*|sh|bash|java|mvn|redis-server|journalctl")
_GUARD = "stream/lab/embedded/guard.py"
_MARKS = {program: marker for marker, (program, _) in PROGRAMS.items()}
# Packages that bring several programs.
_MARKS["kamcmd"] = "needs_kamailio"
_MARKS["prometheus"] = "needs_promtool"
_MARKS["systemctl"] = "needs_systemd"


class _Running:
    """The test that runs now."""

    item: pytest.Item | None = None


def missing() -> dict[str, str]:
    """Marks whose program is not on this machine, each with the reason that a skip gives."""
    return {
        marker: f"no {program}: {install}"
        for marker, (program, install) in PROGRAMS.items()
        if shutil.which(program) is None
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests whose program is missing."""
    for marker, reason in missing().items():
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let the test answer for the programs that are started while it runs."""
    _Running.item = item
    result = yield
    _Running.item = None
    return result


def unmarked(words: Sequence[str], marks: set[str]) -> str:
    """Return what is wrong with a test of these `marks` that runs `words`; "" for nothing."""
    if len(words) > 3 and words[3].endswith(_GUARD):
        # An embedded server: its own program is among the words behind folder and owner.
        programs = [word for word in words[6:] if word in _MARKS] or words[6:7]
    else:
        programs = list(words[:1])
    for program in programs:
        name = Path(program).name
        installed = shutil.which(name)
        if installed is None:
            continue  # a missing one fails by itself
        if Path(program).is_absolute() and program != installed:
            continue  # of a package, of a cache, or the test's own
        if Path(program).is_relative_to(sys.prefix):
            continue
        if name in _MARKS and _MARKS[name] not in marks:
            return f"the test starts {name}: mark it {_MARKS[name]}"
        if name not in _MARKS and not _ALWAYS.fullmatch(name):
            return f"the test starts {name}: give it a mark in tests/plugins/programs.py"
    return ""


def _watched(event: str, details: tuple[Any, ...]) -> None:
    """Fail the running test at the program that it should not start."""
    if event == "subprocess.Popen" and _Running.item is not None:
        executable, words = details[:2]
        told = [os.fsdecode(word) for word in words]
        told[0] = os.fsdecode(executable)
        wrong = unmarked(told, {mark.name for mark in _Running.item.iter_markers()})
        if wrong:
            pytest.fail(wrong)


# It cannot be taken away again, and says nothing while no test runs.
sys.addaudithook(_watched)
