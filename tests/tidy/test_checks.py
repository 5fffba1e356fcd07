"""The checks themselves: each planted violation is caught, and what is right passes."""

from collections.abc import Callable, Iterator

import pytest

from tests.tidy import checks

LONG_BODY = "    x = 1\n" * 70
CATALOGUE = """
class Metrics(Catalogue):
    def __init__(self, registry):
        self.rejected = self._counter("ringfence_rejected")
"""
METRIC = """
[ringfence_rejected]
labels = ["reason"]
meaning = "Records refused, by reason."
do = "Rises when a switch sends garbage: look at calls.rejected."
"""

PLANTED: list[tuple[Callable[[str], Iterator[str]], str]] = [
    (checks.long_file, "x = 1\n" * 601),
    (checks.long_functions, f"def f():\n{LONG_BODY}"),
    (checks.long_functions, f"async def f():\n{LONG_BODY}"),
    (checks.broad_excepts, "try:\n    f()\nexcept Exception:\n    pass\n"),
    (checks.broad_excepts, "try:\n    f()\nexcept (OSError, Exception) as error:\n    raise\n"),
    (checks.broad_excepts, "try:\n    f()\nexcept:\n    raise\n"),
    (checks.broad_excepts, "try:\n    f()\nexcept BaseException:\n    g()\n"),
    (checks.prints, "def f():\n    print('x')\n"),
    (checks.raw_tables, "import csv\nx = csv.writer(f)\n"),
    (checks.whole_settings, "from stream.config.settings import Settings, load\n"),
    (checks.possessive_groups, "x = re.compile(r'(?:ab)*+c')\n"),
    (checks.possessive_groups, "x = re.compile(rb'(a|b){2,3}+')\n"),
    (checks.silent_tests, "def test_x():\n    assert True\n"),
    (checks.silent_tests, "class TestX:\n    async def test_x(self):\n        assert True\n"),
    (checks.machine_paths, "see /" + "work/shared/design.md\n"),
    (checks.metric_names, METRIC.replace("ringfence_rejected", "rejected")),
    (checks.metric_names, METRIC.replace("rejected]", "rejected_total]")),
    (checks.metric_names, METRIC.replace("rejected]", "rejected_ms]")),
    (checks.metric_names, METRIC.replace("Records refused, by reason.", "")),
    (checks.metric_names, METRIC.replace("do =", "no =")),
    (checks.undocumented_keys, "[a]\nb = 1\n"),
    (checks.undocumented_keys, "# a table\n[a]\nb = 1\n"),
    (checks.unlocked, "numpy==2.0\n"),
    (checks.unlocked, "numpy>=2.0 \\\n    --hash=sha256:00\n"),
    (checks.unlocked, "--index-url https://example\nnumpy==2.0 \\\n    --hash=sha256:00\n"),
]

RIGHT: list[tuple[Callable[[str], Iterator[str]], str]] = [
    (checks.long_file, "x = 1\n" * 600),
    (checks.long_functions, "def f():\n" + "    x = 1\n" * 69),
    (checks.broad_excepts, "try:\n    f()\nexcept OSError:\n    pass\n"),
    (checks.broad_excepts, "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"),
    (checks.prints, "def f():\n    console.print('x')\n"),
    (checks.possessive_groups, "x = re.compile(r'(?>(?:ab)*)c\\)++')\n"),
    (checks.silent_tests, "def test_x():\n    'Promise.'\n"),
    (checks.metric_names, METRIC),
    (checks.undocumented_keys, "[a]\n# what it does\nb = 1\nc = 2  # seconds\n"),
    (checks.unlocked, "numpy==2.0 ; python_version < '3.12' \\\n    --hash=sha256:00\n"),
]


@pytest.mark.parametrize(("check", "source"), PLANTED)
def test_a_planted_violation_is_caught(check, source: str) -> None:
    """Each check finds what it is there to find."""
    assert list(check(source))


@pytest.mark.parametrize(("check", "source"), RIGHT)
def test_what_is_right_passes(check, source: str) -> None:
    """No check cries wolf."""
    assert not list(check(source))


def test_a_metric_that_nobody_moves_is_caught() -> None:
    """The catalogue may not hold what the code does not use."""
    assert list(checks.unused_metrics([CATALOGUE], ["metrics.other.inc()"])) == ["rejected"]
    assert not list(checks.unused_metrics([CATALOGUE], ["metrics.rejected.labels(reason).inc()"]))


def test_a_place_that_is_lost_is_caught() -> None:
    """A file or function that moved is named with its line; placeholders are left alone."""
    held = {"stream/a.py": "async def begin(x):\n", "stream": ""}
    text = "[`a`](../../stream/a.py) `begin`, stream/<name>.py and\n`stream/b.py`.\n"
    assert list(checks.lost_places(text, held.get)) == [
        "2: stream/b.py is not there: name the file that has this now"
    ]
    text = "| [`a.py`](../../stream/a.py) `end` |"
    assert [one[:30] for one in checks.lost_places(text, held.get)] == [
        "1: stream/a.py has no end: nam"
    ]


def test_a_name_in_a_string_that_moved_is_caught() -> None:
    """A program in a string is code: its imports, and names that tests replace, are there."""
    held = {"stream": "", "stream.a": "def begin():\n    pass\n", "stream.b": ""}
    source = 'PROGRAM = """\nfrom stream.a import begin, end\n"""\nset("stream.a.begin", 1)\n'
    assert list(checks.lost_names(source, held.get)) == [
        "1: stream.a.end is not there: name what has this now"
    ]
    assert list(checks.lost_names('set("stream.c.x", 1)', held.get)) == [
        "1: stream.c.x is not there: name what has this now"
    ]


def test_a_module_that_nobody_imports_is_caught() -> None:
    """Dead modules are found; packages and entries are none."""
    sources = {"stream.a": "import stream.b\n", "stream.b": "", "stream.c.d": "", "stream": ""}
    assert list(checks.unused_modules(sources, ["stream.a"])) == ["stream.c.d"]
    used = sources | {"stream.b": "from stream.c import d\n"}
    assert not list(checks.unused_modules(used, ["stream.a"]))
