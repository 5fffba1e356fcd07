"""The modules that decide, their tests, and the mutants that mutmut makes of them."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import libcst as cst

from tests.support.figures import ROOT

EXPLAINED = Path(__file__).with_name("explained.toml")
Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Subject:
    """Modules, as patterns below the repository, and the tests that must notice each change."""

    modules: tuple[str, ...]
    unit: tuple[str, ...]
    properties: tuple[str, ...]

    def tests(self) -> list[str]:
        """Return the paths of its tests."""
        properties = [f"tests/property/test_{name}.py" for name in self.properties]
        return [f"tests/unit/{path}" for path in self.unit] + properties

    def files(self) -> list[Path]:
        """Return the modules' paths, relative to the repository."""
        found = [path for pattern in self.modules for path in sorted(ROOT.glob(pattern))]
        return [path.relative_to(ROOT) for path in found if path.name != "__init__.py"]


SUBJECTS = {
    "offsets": Subject(
        modules=("stream/kafka/offsets.py",),
        unit=("kafka/test_offsets.py",),
        properties=("offsets",),
    ),
    "gate": Subject(
        modules=("stream/feeds/gate.py",), unit=("feeds/test_gate.py",), properties=("gate",)
    ),
    "policy": Subject(
        modules=("stream/core/policy/*.py",),
        unit=("core/policy",),
        properties=("policy", "scope", "decide"),
    ),
    "decide": Subject(
        modules=("stream/calls/decide.py", "stream/calls/ruling*.py"),
        unit=(
            *("calls/test_decide.py", "calls/test_deduplicate.py"),
            *("calls/test_ruling_columns.py", "calls/test_lookup.py", "calls/plausibility"),
        ),
        properties=("decide",),
    ),
    "filters": Subject(
        modules=("stream/core/filters/*.py",),
        unit=("core/filters",),
        properties=(
            *("blocklists", "bloom", "hashing", "membership"),
            *("prefixes", "scope", "snapshot", "tables"),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, by mutmut's name of this run, and by what no run changes: its place and text."""

    name: str
    module: str
    function: str
    was: str
    becomes: str

    @property
    def key(self) -> Key:
        """Its module, function and texts; the same change twice in a function is one."""
        return self.module, self.function, self.was, self.becomes

    def __str__(self) -> str:
        return f"{self.module}: {self.function}: {self.was}  ->  {self.becomes}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a module, in mutmut's order, which numbers them in each function."""
    from mutmut.mutation.file_mutation import create_mutations
    from mutmut.mutation.trampoline_templates import mangle_function_name

    module, mutations, _, _ = create_mutations(str(path), (ROOT / path).read_text())
    classes = {
        method: one.name.value
        for one in module.body
        if isinstance(one, cst.ClassDef)
        for method in one.body.body
    }
    seen: Counter[cst.CSTNode] = Counter()
    dotted = str(path).removesuffix(".py").replace("/", ".")
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        if not isinstance(function, cst.FunctionDef):
            continue
        seen[function] += 1
        owner, name = classes.get(function), function.name.value
        mangled = mangle_function_name(name=name, class_name=owner)
        yield Mutant(
            f"{dotted}.{mangled}__mutmut_{seen[function]}",
            str(path),
            f"{owner}.{name}" if owner else name,
            _text(module, mutation.original_node),
            _text(module, mutation.mutated_node),
        )


def _text(module: cst.Module, node: cst.CSTNode) -> str:
    """Return the code of a node on one line."""
    return " ".join(module.code_for_node(node).split())


@cache
def explanations() -> dict[Key, str]:
    """Return the reasons of `explained.toml`, by the mutants' keys."""
    if not EXPLAINED.exists():
        return {}
    held = tomllib.loads(EXPLAINED.read_text())["reason"]
    return {
        (module, function, was, becomes): one["why"]
        for one in held
        for module, function, was, becomes in one["mutants"]
    }
