"""The page "How we know" names what exists, and its figures come from runs and reach their bars."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.docs import promises
from tests.tools.docs.settings import ROOT

SAID: dict[str, Any] = {
    "run": {
        "kills/*": {"command": "make", "says": "{part}: {lost} lost", "bars": ["lost == 0"]},
        "load": {"command": "make", "says": "{in[p99_ms]} ms", "bars": ["in.p99_ms <= 5"]},
    }
}


def result(at: str, **figures: object) -> dict[str, Any]:
    """Records of a run for one part of a campaign."""
    return {"at": at, "commit": "6d9ab1b4-dirty", "figures": figures}


def test_each_test_that_a_promise_names_exists() -> None:
    """A renamed or deleted test cannot go on holding a promise."""
    known: dict[str, set[str]] = {}
    for test in promises.tests_of(promises.promises()):
        path, _, name = test.partition("::")
        known[path] = known.get(path) or _names((ROOT / path).read_text())
        assert name in known[path], test


def _names(source: str) -> set[str]:
    """Names at the top of a test file; hypothesis' state machines are assigned."""
    found = set()
    for one in ast.parse(source).body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(one.name)
        elif isinstance(one, ast.Assign):
            found |= {target.id for target in one.targets if isinstance(target, ast.Name)}
    return found


def test_each_kept_figure_reaches_its_bar() -> None:
    """A figure below its bar is not kept in silence: the promise or the code is wrong."""
    assert promises.missed(promises.promises(), promises.kept()) == []


def test_each_run_is_of_a_promise_and_each_kept_figure_of_a_run() -> None:
    """Nothing is measured for nobody, and nothing old is left over."""
    said = promises.promises()
    used = {run for part in said["part"] for one in part["promise"] for run in one.get("runs", ())}
    assert used == said["run"].keys()
    kept = {(name, part) for name, parts in promises.kept().items() for part in parts}
    figures = promises.kept()
    named = {
        (name.partition("/")[0], part)
        for name in used
        for part, _ in promises.runs_of(name, figures)
    }
    assert kept == named


def test_a_missed_bar_is_named() -> None:
    """The campaign, its part, the figure and the bar."""
    figures = {
        "kills": {"whole": result("1", lost=2)},
        "load": {"whole": result("1", **{"in": {"p99_ms": 4}})},
    }
    assert promises.missed(SAID, figures) == ["kills/whole: lost is 2, not lost == 0"]


def test_the_newer_run_counts_and_only_what_the_page_uses(tmp_path: Path) -> None:
    """Figures of an older run do not come back; others of a run are not kept."""
    parts = {"old": result("1", lost=7, seen=1), "new": result("3", lost=0, seen=1)}
    (tmp_path / "kills.json").write_text(json.dumps({"campaign": "kills", "parts": parts}))
    kept = {"kills": {"old": result("2", lost=0), "new": result("2", lost=1)}}
    assert promises.take(tmp_path, SAID, kept) == {
        "kills": {"old": result("2", lost=0), "new": result("3", lost=0)}
    }


def test_a_run_without_a_figure_of_the_page_is_named(tmp_path: Path) -> None:
    """Rather than a page that cannot be written later."""
    parts = {"whole": result("1", seen=1)}
    (tmp_path / "kills.json").write_text(json.dumps({"campaign": "kills", "parts": parts}))
    with pytest.raises(KeyError, match="whole has no lost"):
        promises.take(tmp_path, SAID, {})


def test_a_figure_stands_on_the_page_with_its_commit_and_date() -> None:
    """A tree with changes is said so; a run that nobody kept, too."""
    part = {
        "title": "Calls",
        "promise": [{"says": "None.", "tests": ["a::b"], "runs": ["kills/*"]}],
    }
    said = {**SAID, "opening": "", "closing": "", "part": [part]}
    kept = {"kills": {"at_least_once": result("2026-11-29T22:58:00Z", lost=0)}}
    when = "2026-11-29, commit 6d9ab1b4 with changes"
    row = f"| kills: `make` | at least once: 0 lost | `lost == 0` | {when} |"
    assert row in promises.page(said, kept).splitlines()
    row = "| kills: `make` | none is kept yet | `lost == 0` | |"
    assert row in promises.page(said, {}).splitlines()


def test_a_bar_that_cannot_be_read_is_refused() -> None:
    """With what to write."""
    said = {"run": {"load": {**SAID["run"]["load"], "bars": ["fast"]}}}
    with pytest.raises(ValueError, match=r'"fast" is no bar\. Write "figure == 0"'):
        promises.missed(said, {"load": {"whole": result("1")}})
