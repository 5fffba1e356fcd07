"""The whole repository keeps its rules of form; the checks are in checks.py, tested beside it."""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from stream.cli.main import COMMANDS
from stream.config.environment import NO_TABLES
from stream.config.settings import Settings
from stream.feeds.feed_sources import modules as modules_of_kinds
from tests.tidy import checks

ROOT = Path(__file__).parents[2]
CODE = ("stream", "tests")
TALKS = ("stream/cli/", "stream/lab/demo/", "stream/__main__.py", "tests/")
# Started by name, by a path or by a registry: nothing needs to import them.
ENTRIES = ("stream.__main__", "stream.lab.embedded.guard")
TEXT = {".py", ".toml", ".md", ".txt", ".yml", ".yaml", ".service", ".json", ".cfg", ""}


@cache
def sources() -> dict[str, str]:
    """Path from the root -> text, for each Python file of ours."""
    files = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}


@cache
def violations() -> dict[Callable[[str], Iterator[str]], list[str]]:
    """Check -> "file:line: what" in all our sources. All checks of a file share its syntax tree."""
    found: dict[Callable[[str], Iterator[str]], list[str]] = {one: [] for one in checks.OF_ONE_FILE}
    for path, text in sources().items():
        for check, violations_of in found.items():
            violations_of += [f"{path}:{violation}" for violation in check(text)]
    return found


def found(
    check: Callable[[str], Iterator[str]], allowed: tuple[str, ...] = (), under: str = ""
) -> list[str]:
    """Violations in our sources below `under`, but for those of files that are `allowed` some."""
    return [
        one
        for one in violations()[check]
        if one.startswith(under) and not one.startswith(allowed or ("\0",))
    ]


def test_files_are_short() -> None:
    """No file is longer than 600 lines."""
    assert not found(checks.long_file)


def test_functions_are_short() -> None:
    """No function is longer than 70 lines."""
    assert not found(checks.long_functions)


def test_what_is_caught_is_named() -> None:
    """Nothing but app.py catches everything."""
    assert not found(checks.broad_excepts, ("stream/services/service.py", "tests/"))


def test_only_commands_print() -> None:
    """The engine prints nothing."""
    assert not found(checks.prints, TALKS)


def test_no_cell_becomes_a_formula() -> None:
    """Every CSV file of the product is written by the module that marks formulas."""
    assert not found(checks.raw_tables, ("stream/core/model/csv_cells.py",), "stream/")


def test_only_services_and_commands_see_all_settings() -> None:
    """Of the product, only these rooms import the whole configuration; the doctor checks it."""
    rooms = tuple(f"stream/{room}/" for room in ("lab", "cli", "services", "doctor", "config"))
    assert not found(checks.whole_settings, rooms, under="stream/")


def test_every_python_reads_our_expressions_alike() -> None:
    """No expression of the product has a possessive group."""
    characters = ("stream/edge/http/rendering.py",)  # of URLs: no expression
    assert not found(checks.possessive_groups, characters, under="stream/")


def test_every_test_is_a_promise() -> None:
    """Each test has a docstring."""
    assert not found(checks.silent_tests, under="tests/")


def test_no_module_is_dead() -> None:
    """Each module is imported by another, is an entry, or stands in a table that loads by name."""
    by_name = {one for entry in COMMANDS.values() for one in entry.modules()} | {
        *modules_of_kinds()
    }
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text
        for path, text in sources().items()
        if path.startswith("stream/")
    }
    assert not list(checks.unused_modules(modules, {*ENTRIES, *by_name}))


def test_no_file_names_a_machine() -> None:
    """No path of the machines that this was built on is in any file."""
    folders = ("stream", "config", "deploy", "tests", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    # A worktree's `.git` is a file, and no file of ours.
    files += [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    assert not [
        f"{path.relative_to(ROOT)}:{violation}"
        for path in files
        if path.is_file() and path.suffix in TEXT and path.name != "checks.py"
        for violation in checks.machine_paths(path.read_text(errors="replace"))
    ]


def test_documentation_finds_its_files() -> None:
    """Each file and function that a text for people names is where the text says."""
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts += [path for folder in ("config", "deploy") for path in (ROOT / folder).rglob("*.toml")]

    @cache
    def file_at(path: str) -> str | None:
        held = ROOT / path
        return held.read_text(errors="replace") if held.is_file() else "" if held.is_dir() else None

    assert not [
        f"{path.relative_to(ROOT)}:{violation}"
        for path in texts
        if path.name != "CHANGELOG.md"  # it speaks of files as they were
        for violation in checks.lost_places(path.read_text(), file_at)
    ]


def test_names_in_strings_are_there() -> None:
    """Programs for other processes, and names that tests replace, follow what moves."""
    loggers = ("stream.edge.http.access", "stream.edge.http.audit")  # names that people filter by
    made_up = (
        *("tests/tidy/", "tests/unit/ops/test_log.py", "tests/simulation/test_loop.py"),
        "tests/unit/test_changed.py",
    )

    @cache
    def module_at(name: str) -> str | None:
        path = name.replace(".", "/")
        held = sources().get(f"{path}.py") or sources().get(f"{path}/__init__.py")
        return held if held is not None else "" if (ROOT / path).is_dir() else None

    lost = [
        f"{path}:{violation}"
        for path, text in sources().items()
        if not path.startswith(made_up)
        for violation in checks.lost_names(text, module_at)
    ]
    assert not [one for one in lost if one.split()[1] not in loggers]


def test_packages_are_locked() -> None:
    """Each package of requirements.txt is one version with its hashes; no registry is named."""
    assert not list(checks.unlocked((ROOT / "requirements.txt").read_text()))


def test_every_setting_is_explained() -> None:
    """Each key of config/default.toml has a comment on its line or above it."""
    assert not list(checks.undocumented_keys((ROOT / "config/default.toml").read_text()))


def settings_of(section: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Keys of a settings dataclass and of the sections in it; what comes by name is one key."""
    for name, kind in get_type_hints(section).items():
        if is_dataclass(kind):
            yield from settings_of(kind, (*above, name))
        else:
            yield (*above, name)


def test_every_setting_is_in_the_defaults() -> None:
    """Whatever the code reads from the configuration is in config/default.toml, to be found."""
    defaults = tomllib.loads((ROOT / "config/default.toml").read_text())
    missing = []
    for key in settings_of(Settings):
        if key[0] not in NO_TABLES:
            value: Any = defaults
            for name in key:
                value = value.get(name, {} if name != key[-1] else None)
            missing += [".".join(key)] if value is None else []
    assert not missing


CATALOGUES = (
    "stream/ops/metrics/worker_catalogue.py",
    "stream/ops/metrics/feed_catalogue.py",
    "stream/ops/metrics/http_catalogue.py",
    "stream/ops/metrics/sink_catalogue.py",
    "stream/ops/metrics/sip_catalogue.py",
    "stream/ops/metrics/exchange_catalogue.py",
)
"""Not shared_catalogue.py: its classes read what they show, and nothing else moves its metrics."""


def test_every_metric_is_explained() -> None:
    """Each metric has our prefix, a name by Prometheus' rules, a meaning, and says what to do."""
    text = (ROOT / "stream/ops/metrics/metrics.toml").read_text()
    assert not list(checks.metric_names(text))


def test_every_metric_is_used() -> None:
    """Each metric of the catalogues is moved somewhere in the product."""
    catalogues = [sources()[path] for path in CATALOGUES]
    assert all(map(checks.metric_attributes, catalogues))
    others = [
        text
        for path, text in sources().items()
        if path.startswith("stream/") and path not in CATALOGUES
    ]
    assert not list(checks.unused_metrics(catalogues, others))
