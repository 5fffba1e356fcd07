"""The page "How we know": each promise, the tests that hold it, and figures of the last runs.

`how-we-know.toml` has promises, tests and bars; `figures.json` has the figures, taken from
`build/campaign`, where runs leave them (tests/support/figures.py). Nobody types a figure.
"""

import json
import operator
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from tests.tools.docs.settings import ROOT

FOLDER = ROOT / "docs" / "understand"
PAGE = FOLDER / "how-we-know.md"
PROMISES = FOLDER / "how-we-know.toml"
KEPT = FOLDER / "figures.json"
RUNS = ROOT / "build" / "campaign"
_BAR = re.compile(r"(\S+) (==|<=|>=) (\S+)")
_COMPARE = {"==": operator.eq, "<=": operator.le, ">=": operator.ge}
_WHOLE = "whole"


def promises() -> dict[str, Any]:
    """Return what `how-we-know.toml` holds: `part`, each with promises, and `run`, by its name."""
    return tomllib.loads(PROMISES.read_text())


def kept() -> dict[str, Any]:
    """Return the kept figures: campaign -> part -> `at`, `commit` and `figures`."""
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def tests_of(said: Mapping[str, Any]) -> Iterator[str]:
    """Each test that a promise names, as pytest does: `tests/fault/test_deaths.py::test_...`."""
    for part in said["part"]:
        for promise in part["promise"]:
            yield from promise["tests"]


def runs_of(name: str, figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the kept runs that "kills/at_least_once" or "fuzz/*" means: their part and result."""
    campaign, _, part = name.partition("/")
    parts = figures.get(campaign, {})
    if part == "*":
        return sorted(parts.items())
    wanted = part or _WHOLE
    return [(wanted, parts[wanted])] if wanted in parts else []


def missed(said: Mapping[str, Any], figures: Mapping[str, Any]) -> list[str]:
    """Return each bar that a kept figure misses, with the figure."""
    found = []
    for name, run in said["run"].items():
        for part, result in runs_of(name, figures):
            for bar in run["bars"]:
                key, compare, wanted = _parsed(bar)
                has = _at(result["figures"], key)
                if not _COMPARE[compare](has, wanted):
                    found.append(f"{name.partition('/')[0]}/{part}: {key} is {has}, not {bar}")
    return found


def take(runs: Path, said: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return `figures` with those of newer runs in the folder `runs`: only what the page uses."""
    taken = {campaign: dict(parts) for campaign, parts in figures.items()}
    for name, run in said["run"].items():
        campaign = name.partition("/")[0]
        path = runs / f"{campaign}.json"
        if not path.exists():
            continue
        used = _used(run)
        for part, result in runs_of(name, {campaign: json.loads(path.read_text())["parts"]}):
            parts = taken.setdefault(campaign, {})
            if part not in parts or parts[part]["at"] < result["at"]:
                if lost := used - result["figures"].keys():
                    raise KeyError(f"{path}: {part} has no {', '.join(sorted(lost))}")
                held = {key: result["figures"][key] for key in sorted(used)}
                parts[part] = {"at": result["at"], "commit": result["commit"], "figures": held}
    return taken


def page(said: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Return the page's Markdown."""
    lines = ["# How we know", "", said["opening"].strip()]
    for part in said["part"]:
        lines += ["", f"## {part['title']}"]
        for promise in part["promise"]:
            lines += ["", f"**{promise['says']}**", "", *_held_by(promise["tests"])]
            runs = [row for name in promise.get("runs", ()) for row in _rows(said, name, figures)]
            if runs:
                lines += ["", "| run | last figures | bar | when |", "|---|---|---|---|", *runs]
    return "\n".join([*lines, "", said["closing"].strip(), ""])


def _held_by(tests: list[str]) -> Iterator[str]:
    """One line a file: its path and its tests."""
    files: dict[str, list[str]] = {}
    for test in tests:
        path, _, name = test.partition("::")
        files.setdefault(path, []).append(f"`{name}`")
    for path, names in files.items():
        yield f"- `{path}`: {', '.join(names)}"


def _rows(said: Mapping[str, Any], name: str, figures: Mapping[str, Any]) -> Iterator[str]:
    run = said["run"][name]
    bars = ", ".join(f"`{bar}`" for bar in run["bars"])
    title = name.removesuffix("/*").replace("/", ", ").replace("_", " ")
    command = f"{title}: `{run['command']}`"
    found = runs_of(name, figures)
    if not found:
        yield f"| {command} | none is kept yet | {bars} | |"
    for part, result in found:
        text = run["says"].format_map({**result["figures"], "part": part.replace("_", " ")})
        commit, _, dirty = result["commit"].partition("-")
        when = f"{result['at'][:10]}, commit {commit[:8]}{' with changes' if dirty else ''}"
        yield f"| {command} | {text} | {bars} | {when} |"


def _parsed(bar: str) -> tuple[str, str, float]:
    match = _BAR.fullmatch(bar)
    if match is None:
        raise ValueError(f'{PROMISES.name}: "{bar}" is no bar. Write "figure == 0" (or <=, >=).')
    return match[1], match[2], float(match[3])


def _at(figures: Mapping[str, Any], key: str) -> Any:
    """Return the figure at "within.p99_ms", or at "sizes.1" of a list."""
    found: Any = figures
    for step in key.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


def _used(run: Mapping[str, Any]) -> set[str]:
    """Return the outermost names of the figures that a run's text and bars use."""
    fields = [name for _, name, _, _ in Formatter().parse(run["says"]) if name]
    fields += [_parsed(bar)[0] for bar in run["bars"]]
    return {re.split(r"[.\[]", name)[0] for name in fields} - {"part"}


def write(runs: Path | None = None) -> None:
    """Write the page; with `runs` take the newer figures of that folder first."""
    said = promises()
    figures = kept() if KEPT.exists() else {}
    if runs is not None:
        figures = take(runs, said, figures)
        KEPT.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(said, figures))
