"""Only the test files that a change can reach: `pytest --changed`, as `make check` asks.

A file reaches what it imports or names, and what those reach. A test that starts a process reaches
the whole product. Rules of form (tests/tidy) are always asked. A change of what nothing imports
(settings, data, this folder, a conftest.py) reaches every test, and so does one without git.
CI runs everything, whatever changed.
"""

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BRANCH = "main"
"""Changed is what differs from the commit at which this branch was left."""
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+((?:stream|tests)[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)"
    r"|import[ \t]+((?:stream|tests)[\w.]*))",
    re.MULTILINE,
)
_NAMED = re.compile(r'"((?:stream|tests)(?:\.\w+)+)')
_PYTHON = re.compile(r"(?:stream|tests)/(?!plugins/).+(?<!/conftest)\.py")
_PROSE = re.compile(r"\.(?:md|rst)$")
WANTED = pytest.StashKey[frozenset[str] | None]()


def differing() -> list[str] | None:
    """Return the paths that differ from `BRANCH`, committed or not; None: git does not say."""
    try:
        base = _git("merge-base", BRANCH, "HEAD")[0]
        tracked = _git("diff", "--name-only", base)
        return [*tracked, *_git("ls-files", "--others", "--exclude-standard")]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def _git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def reached(changed: Iterable[str], texts: Mapping[str, str]) -> frozenset[str] | None:
    """Return the paths of `texts` (path: text of a Python file) that a change reaches; None: all.

    A removed file counts as well: what still imports it is reached.
    """
    paths = {_module(path): path for path in texts}
    begun: set[str] = set()
    for path in changed:
        if _PYTHON.fullmatch(path):
            begun.add(_module(path))
        elif _PROSE.search(path):
            begun |= {_module(one) for one, text in texts.items() if ".md" in text}
        else:
            return None
    users: dict[str, set[str]] = defaultdict(set)
    for name, path in paths.items():
        for used in _uses(name, texts[path], paths.keys() | begun):
            users[used].add(name)
    found, left = set(begun), list(begun)
    while left:
        more = users[left.pop()] - found
        found |= more
        left += more
    return frozenset(paths[name] for name in found if name in paths)


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _uses(name: str, text: str, known: Iterable[str]) -> set[str]:
    """The modules of `known` that the text of the module `name` imports, names, or may start."""
    said = set(_NAMED.findall(text))
    for base, parts, alone in _IMPORT.findall(text):
        said |= {base or alone, *(f"{base}.{part}" for part in re.findall(r"\w+", parts))}
    # A package is run before what is in it.
    said |= {one[: dot.start()] for one in said for dot in re.finditer(r"\.", one)}
    below = []
    if "sys.executable" in text and name.startswith("tests."):
        below.append("stream.")
    if "import_module(" in text:  # by a name that is made: of its own folder, or below
        below.append(name.rpartition(".")[0] + ".")
        below.append(f"{name}.")
    return {one for one in known if one in said or one.startswith(tuple(below))}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    said = f"only the test files that what differs from {BRANCH} can reach"
    parser.addoption("--changed", action="store_true", help=said)


def pytest_configure(config: pytest.Config) -> None:
    """Look at the tree once, in each process."""
    config.stash[WANTED] = None
    if config.getoption("changed") and (changed := differing()) is not None:
        python = (path for top in ("stream", "tests") for path in (ROOT / top).rglob("*.py"))
        texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in python}
        config.stash[WANTED] = reached(changed, texts)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what is run, with -q too, so that nobody takes this for a run of all tests."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("changed"):
        return
    wanted = session.config.stash[WANTED]
    files = [path for path in wanted or () if Path(path).name.startswith("test_")]
    reach = "every test" if wanted is None else f"{len(files)} test files, and the rules of form"
    reporter.write_line(f"what differs from {BRANCH} reaches {reach}")


def left_out(config: pytest.Config, path: Path) -> bool:
    """Return whether a file's tests are not asked for."""
    wanted = config.stash[WANTED]
    if wanted is None or not path.name.startswith("test_") or not path.is_relative_to(ROOT):
        return False
    place = path.relative_to(ROOT).as_posix()
    return place not in wanted and not place.startswith("tests/tidy/")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what no change reaches, before it is imported."""
    return left_out(config, collection_path) or None
