"""Our rules of form, as functions from source text to violations ("line: what"); see style.md.

Pure, so that test_checks.py can plant a violation of each and see it caught.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from tests.tidy.house import read

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
# Prometheus' base units are seconds and bytes; the client adds _total by itself.
NOT_IN_METRICS = re.compile(r"_(ms|millis\w*|minutes|hours|days|percent|kb|total|count|sum)(_|$)")
INSTRUMENTS = frozenset({"_counter", "_gauge", "_histogram", "_ages"})
EACH = frozenset({"_counter_by", "_gauge_by", "_histogram_by"})
# Paths of the machines that this was built on; they mean nothing anywhere else.
MACHINE = re.compile(r"(?<!\w)/(?:root|work|home/\w+)/|\.pyenv/")

# A path of ours in a text for people, and where a link names it the function behind it.
NAMED = re.compile(
    r"(?<![\w./-])(?:\.\./)*((?:stream|tests|docs|config|deploy|\.ci)/[\w./-]*)(?:\) `(\w+)`)?"
)
# A module of ours in a string: a program for another process, a name to be replaced, a text.
IN_A_STRING = re.compile(r"\b(stream(?:\.\w+)+)(?: import (\w+(?:, *\w+)*))?")
NOT_ONE_FILE = ("<", "*", "{")
"""Behind a path: it stands for several files, or for one that a reader will make."""

POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{[0-9,]+\})\+")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@lru_cache(maxsize=1)
def nodes(source: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a file's syntax tree; kept for the next check of the same file."""
    return tuple(ast.walk(ast.parse(source)))


def long_file(source: str) -> Iterator[str]:
    """A file of more than 600 lines does more than one thing."""
    lines = source.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{lines} lines, {FILE_LINES_MAX} is the most"


def long_functions(source: str) -> Iterator[str]:
    """A function that does not fit on a screen is not read as one."""
    for node in nodes(source):
        if isinstance(node, FUNCTIONS) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {lines} lines"


def broad_excepts(source: str) -> Iterator[str]:
    """Name what you catch. Clean-up may catch BaseException, if it ends by raising it again."""
    for node in nodes(source):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        names = {each.id for each in caught if isinstance(each, ast.Name)}
        last = node.body[-1]
        raises_again = isinstance(last, ast.Raise) and last.exc is None
        if node.type is None or "Exception" in names:
            yield f"{node.lineno}: catches everything"
        elif "BaseException" in names and not raises_again:
            yield f"{node.lineno}: catches everything and does not raise it again"


def prints(source: str) -> Iterator[str]:
    """The engine logs; only commands talk, and they do so through rich."""
    for node in nodes(source):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield f"{node.lineno}: print"


def raw_tables(source: str) -> Iterator[str]:
    """CSV files are written by `core.model.csv_cells`, which lets no text become a formula."""
    for node in nodes(source):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {
            "csv.writer",
            "csv.DictWriter",
        }:
            yield f"{node.lineno}: {ast.unparse(node)}: use stream.core.model.csv_cells"


def whole_settings(source: str) -> Iterator[str]:
    """A room below the services takes the sections that it reads, never `Settings`."""
    for node in nodes(source):
        if isinstance(node, ast.ImportFrom) and node.module == "stream.config.settings":
            yield from (
                f"{node.lineno}: imports Settings: take a section, or EngineSettings"
                for alias in node.names
                if alias.name == "Settings"
            )


def possessive_groups(source: str) -> Iterator[str]:
    """CPython before 3.11.5, so Debian 12's, ends `(...)*+` in the wrong place (gh-106052)."""
    for node in nodes(source):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if POSSESSIVE_GROUP.search(text):
                yield f"{node.lineno}: a possessive group: write (?>(...)*), which is right in all"


def silent_tests(source: str) -> Iterator[str]:
    """A test's docstring is the promise that it keeps."""
    for node in nodes(source):
        if not isinstance(node, FUNCTIONS) or not node.name.startswith("test_"):
            continue
        if ast.get_docstring(node) is None:
            yield f"{node.lineno}: {node.name} promises nothing"


def machine_paths(text: str) -> Iterator[str]:
    """No file names a place that exists on one machine only."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := MACHINE.search(line):
            yield f"{number}: {found[0]}"


def lost_places(text: str, file_at: Callable[[str], str | None]) -> Iterator[str]:
    """Documentation names files that are there, and functions that are in them.

    `file_at` gives the text of a file by its path from the root: "" of a folder, None where
    nothing is.
    """
    for number, line in enumerate(text.splitlines(), 1):
        for found in NAMED.finditer(line):
            if line.startswith(NOT_ONE_FILE, found.end(1)):
                continue
            path, function = found[1].rstrip("./-"), found[2]
            held = file_at(path)
            if held is None:
                yield f"{number}: {path} is not there: name the file that has this now"
            elif function and f"def {function}(" not in held:
                yield f"{number}: {path} has no {function}: name the function that does this now"


def lost_names(source: str, module_at: Callable[[str], str | None]) -> Iterator[str]:
    """A module named in a string is there, and has what is taken from it; no import tells.

    `module_at` gives the text of a module by its name, None where none is.
    """
    for node in nodes(source):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        for found in IN_A_STRING.finditer(node.value):
            taken = (found[2] or "").replace(",", " ").split()
            for name in [f"{found[1]}.{each}" for each in taken] or [found[1]]:
                module, _, last = name.rpartition(".")
                held = module_at(module) or ""
                if module_at(name) is None and not re.search(rf"\b{last}\b", held):
                    yield f"{node.lineno}: {name} is not there: name what has this now"


def unused_modules(sources: Mapping[str, str], entries: Iterable[str]) -> Iterator[str]:
    """Modules ("stream.core.model.errors" -> source) that nothing imports and that are no entry."""
    imported: set[str] = set(entries)
    for source in sources.values():
        imported |= {part for base, name in read(source)[0] for part in (base, f"{base}.{name}")}
    # A package's own __init__ is imported with each of its modules.
    packages = {name.rsplit(".", depth)[0] for name in sources for depth in range(1, 4)}
    yield from sorted(set(sources) - imported - packages)


def metric_attributes(catalogue: str) -> set[str]:
    """Names of the attributes that hold the catalogue's instruments."""
    return {
        node.targets[0].attr
        for node in ast.walk(ast.parse(catalogue))
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Attribute)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "attr", "") in INSTRUMENTS | EACH
    }


def metric_names(toml: str) -> Iterator[str]:
    """Each metric is ours by name, and says what it means and what to do."""
    for name, one in tomllib.loads(toml).items():
        if not name.startswith("ringfence_"):
            yield f"{name} does not start with ringfence_"
        if NOT_IN_METRICS.search(name):
            yield f"{name}: Prometheus wants base units and adds _total"
        if len(one.get("meaning", "")) < 10:
            yield f"{name} has no meaning"
        if len(one.get("do", "")) < 10:
            yield f"{name} does not say what to do"


def unused_metrics(catalogues: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    """A metric that nobody moves is a promise that nobody keeps."""
    used = {
        node.attr
        for source in others
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
    }
    yield from sorted(set().union(*map(metric_attributes, catalogues)) - used)


def undocumented_keys(toml: str) -> Iterator[str]:
    """Each key of the defaults, and each empty table, explains itself on its line or above it."""
    tomllib.loads(toml)
    above_is_comment = False
    inside = False
    for number, line in enumerate(toml.splitlines(), 1):
        stripped = line.strip()
        opens = stripped.split("#")[0].rstrip().endswith(("[", "{")) and "=" in stripped
        is_key = not inside and re.match(r'["\w.-]+ *=', stripped) is not None
        if is_key and "#" not in stripped and not above_is_comment:
            yield f"{number}: {stripped.split('=')[0].strip()} is not explained"
        inside = (inside or opens) and stripped not in {"]", "}"}
        above_is_comment = stripped.startswith("#")


def unlocked(requirements: str) -> Iterator[str]:
    """Each package is one version with hashes, and no registry's address is named."""
    for number, line in enumerate(requirements.splitlines(), 1):
        if re.search(r"https?:|--(extra-)?index|find-links|trusted-host", line):
            yield f"{number}: names a place"
    for entry in re.split(r"\n(?=\S)", requirements.strip()):
        if "==" not in entry or "--hash=sha256:" not in entry:
            yield f"{entry.splitlines()[0]!r} is not locked"


OF_ONE_FILE: tuple[Callable[[str], Iterator[str]], ...] = (
    *(long_file, long_functions, broad_excepts, prints, raw_tables, whole_settings),
    *(possessive_groups, silent_tests),
)
"""Checks of a Python file by itself."""
