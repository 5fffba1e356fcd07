"""`make check` leaves out only tests that a change cannot reach."""

from collections.abc import Mapping

import pytest

from tests.plugins.changed import ROOT, differing, reached

TEXTS: Mapping[str, str] = {
    "stream/__init__.py": "",
    "stream/gate.py": "from stream import limits\n",
    "stream/limits.py": "",
    "stream/cli/__init__.py": "",
    "stream/cli/lazy.py": "def load(name):\n    import_module(f'{name}')\n",
    "stream/cli/lists.py": "",
    "tests/support/files.py": "from stream.gate import (\n    look,\n)\n",
    "tests/unit/test_gate.py": "import tests.support.files\n",
    "tests/unit/test_limits.py": "    from stream.limits import most\n",
    "tests/unit/test_named.py": 'patch("stream.limits.MOST", 3)\n',
    "tests/unit/test_started.py": 'run([sys.executable, "-m", "stream"])\n',
    "tests/unit/test_lazy.py": "from stream.cli.lazy import load\n",
    "tests/unit/test_pages.py": 'open("README.md")\n',
    "tests/unit/test_alone.py": "import json\n",
}


def names_of(*changed: str) -> set[str]:
    """Names of the test files that a change reaches."""
    found = reached(changed, TEXTS)
    assert found is not None
    return {path[16:-3] for path in found if path.startswith("tests/unit/test_")}


def test_a_change_reaches_what_imports_names_or_starts_it() -> None:
    """Through others too, in brackets and in functions; a process may load anything."""
    assert names_of("stream/limits.py") == {"gate", "limits", "named", "started"}
    assert names_of("stream/gate.py") == {"gate", "started"}
    assert names_of("tests/support/files.py") == {"gate"}
    assert names_of("tests/unit/test_alone.py") == {"alone"}
    assert names_of() == set()


def test_a_module_that_is_loaded_by_a_made_name_is_reached() -> None:
    """An import by name reaches all of its folder."""
    assert names_of("stream/cli/lists.py") == {"lazy", "started"}


def test_a_package_reaches_all_that_is_in_it() -> None:
    """Its `__init__.py` runs before any module of it."""
    assert names_of("stream/__init__.py") == {"gate", "limits", "named", "started", "lazy"}


def test_a_removed_module_reaches_what_still_imports_it() -> None:
    """That test fails, and has to be seen."""
    assert "limits" in names_of("stream/most.py", "stream/limits.py")
    texts = {path: text for path, text in TEXTS.items() if path != "stream/limits.py"}
    assert "tests/unit/test_limits.py" in (reached(["stream/limits.py"], texts) or ())


def test_prose_reaches_what_reads_prose() -> None:
    """Pages are read by the tests that name such files."""
    assert names_of("docs/how-to/agreements.md") == {"pages"}


@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "config/default.toml",
        "tests/golden/cdr/freeswitch/a.json",
        "tests/unit/calls/conftest.py",
        "tests/plugins/leftovers.py",
        "deploy/trim.py",
    ],
)
def test_what_nothing_imports_reaches_everything(path: str) -> None:
    """Data, settings and what pytest loads by itself."""
    assert reached([path, "stream/gate.py"], TEXTS) is None


@pytest.mark.needs_git
def test_this_tree_is_compared_with_main() -> None:
    """Paths are those of the tree; None where git knows no such branch, as in CI."""
    changed = differing()
    assert changed is None or all(not path.startswith("/") for path in changed)
    assert (ROOT / "tests" / "plugins" / "changed.py").exists()
