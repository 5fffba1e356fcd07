"""The house's ratchets, as functions from the product's modules to what passes a limit.

A module is named "stream.core.model.errors"; a package's face, its `__init__.py`, as the package.
Pure, so that test_house.py can plant a violation of each and see it caught.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

FRAGMENT_LINES_MIN = 60
FOLDER_FILES_MAX = 20
# One file a format, a transport, a dialect, a kernel: a reader looks for one name in the folder.
CATALOGUE_FILES_MAX = 24
CATALOGUES = ("formats", "transports", "dialects", "kernels")
IMPORTS_MAX = 15
# A process joins the rooms; it needs more of them than a room may.
SERVICE_IMPORTS_MAX = 25
# Words of language.md's right column, and turns of ours that a stranger does not read at once.
OLD_WORDS = {
    "whoever": r"\bwhoever\b",
    "anew": r"\banew\b",
    "is told": r"\b(is|are) told\b",
    "tells of": r"\btells of\b",
    "is well": r"\bis well\b",
    "nobody says": r"\bnobody says\b",
    "mend": r"\bmend(s|ed)?\b",
    "glance": r"\bglance",
    "lane": r"\blanes?\b",
    "shelf": r"\bshel(f|ves)\b",
    "keeper": r"\bkeeper\b",
    "annals": r"\bannals\b",
    "strangers": r"\bstrangers?\b",
    "register": r"\bregisters?\b",
    "cannot": r"\bcan not\b",
    "What ...": r'^\s*"""(What|Whether|How|Who) ',
}


def module_of(path: str) -> str:
    """Return the module's name of "stream/core/faults.py"."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def read(source: str) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Return what a source imports, as (module, name in it or ""), and its public classes.

    Kept: several rules ask the same of each file, and parsing the product takes 2 s of CPU.
    """
    found: set[tuple[str, str]] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {(node.module, alias.name) for alias in node.names}
    classes = (node.name for node in tree.body if isinstance(node, ast.ClassDef))
    return frozenset(found), frozenset(name for name in classes if not name.startswith("_"))


def imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the modules among `modules` (name -> source) that each of them imports."""
    found: dict[str, set[str]] = {}
    for module, source in modules.items():
        names: set[str] = set()
        for base, name in read(source)[0]:
            # A name that is no module comes from the module itself.
            names.add(part if (part := f"{base}.{name}") in modules else base)
        found[module] = names & modules.keys() - {module}
    return found


def crowded_folders(paths: Iterable[str]) -> Iterator[str]:
    """Folders that hold more files than a reader takes in at once."""
    for folder, count in sorted(Counter(path.rpartition("/")[0] for path in paths).items()):
        catalogue = folder.rpartition("/")[2] in CATALOGUES
        if count > (CATALOGUE_FILES_MAX if catalogue else FOLDER_FILES_MAX):
            yield folder


def fragments(modules: Mapping[str, str], entries: Iterable[str]) -> Iterator[str]:
    """Modules under 60 lines that one other module imports, or none: they belong to a neighbour."""
    importers = Counter(used for each in imports(modules).values() for used in each)
    faces = {module for module in modules if any(m.startswith(f"{module}.") for m in modules)}
    for module in sorted(modules.keys() - faces - set(entries)):
        if modules[module].count("\n") < FRAGMENT_LINES_MIN and importers[module] <= 1:
            yield module


def names_twice(modules: Mapping[str, str]) -> Iterator[str]:
    """Public classes whose name stands in two modules: a reader who looks for one finds another."""
    places = defaultdict(set)
    for module, source in modules.items():
        for name in read(source)[1]:
            places[name].add(module)
    yield from sorted(name for name, places_of in places.items() if len(places_of) > 1)


def basenames_twice(paths: Iterable[str]) -> Iterator[str]:
    """Files with one name in two folders; a package's face and entry apart."""
    names = Counter(path.rpartition("/")[2] for path in paths)
    yield from sorted(n for n, count in names.items() if count > 1 and not n.startswith("__"))


def wide_imports(modules: Mapping[str, str]) -> Iterator[str]:
    """Modules that import more of the product than one subject needs."""
    for module, used in sorted(imports(modules).items()):
        service = module.startswith(("stream.services.", "stream.lab."))
        if len(used) > (SERVICE_IMPORTS_MAX if service else IMPORTS_MAX):
            yield module


def old_words(texts: Iterable[str]) -> dict[str, int]:
    """Return how many lines of `texts` hold each old word; a word that none holds is left out."""
    some = re.compile("|".join(OLD_WORDS.values()), re.IGNORECASE)
    lines = [line for text in texts for line in text.splitlines() if some.search(line)]
    counts = {
        word: sum(1 for line in lines if re.search(pattern, line, re.IGNORECASE))
        for word, pattern in OLD_WORDS.items()
    }
    return {word: count for word, count in counts.items() if count}
