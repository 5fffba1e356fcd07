"""Find the regular expressions of the product by its syntax trees, and how each is applied.

An expression that this cannot evaluate (it is made of what a function is given) is a `Use` without
a pattern: the test names examples for it. So a new expression cannot stay untested.
"""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

FUNCTIONS = (
    "compile",
    "match",
    "fullmatch",
    "search",
    "sub",
    "subn",
    "split",
    "findall",
    "finditer",
)
APPLIED = frozenset(FUNCTIONS[1:])
ANYWHERE = frozenset({"search", "finditer"})
"""The methods that apply an expression of a table: the strictest ones."""


class Use(NamedTuple):
    """An expression at a place; `pattern` None: it is made while the program runs."""

    path: str
    function: str
    line: int
    pattern: "re.Pattern[Any] | None"
    methods: frozenset[str]

    @property
    def place(self) -> str:
        """Path and function: how a table names it."""
        return f"{self.path}::{self.function}"


class _Module(NamedTuple):
    """A file's tree, what it imports by name, and methods called of names.

    `parents` has each node's; it is empty where the file can have no expression.
    """

    tree: ast.Module
    parents: Mapping[ast.AST, ast.AST]
    imports: frozenset[tuple[str, str]]
    calls: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, text: str) -> "_Module":
        tree = ast.parse(text)
        parents: dict[ast.AST, ast.AST] = {}
        imports: set[tuple[str, str]] = set()
        calls: dict[str, set[str]] = {}
        has_expressions = "import re\n" in text
        for node in ast.walk(tree):
            if has_expressions:
                parents |= dict.fromkeys(ast.iter_child_nodes(node), node)
            if isinstance(node, ast.ImportFrom):
                imports |= {(node.module or "", alias.name) for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                calls.setdefault(node.value.id, set()).add(node.attr)
        methods = {name: frozenset(found & APPLIED) for name, found in calls.items()}
        return cls(tree, parents, frozenset(imports), methods)


def uses(sources: Mapping[str, str]) -> Iterator[Use]:
    """Every expression of `sources` (path -> text)."""
    modules = {path: _Module.of(text) for path, text in sources.items()}
    for path, module in modules.items():
        for node in ast.walk(module.tree) if module.parents else ():
            if _is_expression(node):
                assert isinstance(node, ast.Call)
                yield _use(path, node, modules)


def _is_expression(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in FUNCTIONS
    )


def _use(path: str, call: ast.Call, modules: Mapping[str, _Module]) -> Use:
    assert isinstance(call.func, ast.Attribute)
    name = call.func.attr
    methods = frozenset({name}) if name in APPLIED else _applied(path, call, modules)
    function = _inside(call, modules[path].parents)
    return Use(path, function, call.lineno, _compiled(path, call), methods)


def _compiled(path: str, call: ast.Call) -> "re.Pattern[Any] | None":
    assert isinstance(call.func, ast.Attribute)
    place = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(call.func.attr, 2)
    flags = [call.args[place]] if len(call.args) > place else []
    flags += [word.value for word in call.keywords if word.arg == "flags"]
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    try:
        pattern = _value(call.args[0], module)
        return re.compile(pattern, _value(flags[0], module) if flags else 0)
    except NameError:
        return None


def _value(node: ast.expr, module: Any) -> Any:
    code = compile(ast.Expression(node), module.__name__, "eval")
    return eval(code, dict(vars(module)))  # noqa: S307 - our own source


def _inside(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> str:
    """The function that a node is in; "": the module."""
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return node.name
    return ""


def _applied(path: str, call: ast.Call, modules: Mapping[str, _Module]) -> frozenset[str]:
    """The methods that are called of a compiled expression; of one in a table, `ANYWHERE`."""
    parents = modules[path].parents
    parent = parents[call]
    if isinstance(parent, ast.Attribute):
        return frozenset({parent.attr}) & APPLIED or ANYWHERE
    name = _named(call, parent, parents)
    if name is None:
        return ANYWHERE
    this = path.removesuffix(".py").replace("/", ".")
    found: set[str] = set()
    for other, module in modules.items():
        if other == path or (this, name) in module.imports:
            found |= module.calls.get(name, frozenset())
    return frozenset(found) or ANYWHERE


def _named(call: ast.Call, parent: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> str | None:
    """The name that the expression is given, alone or in a tuple of names."""
    if isinstance(parent, ast.AnnAssign) and isinstance(parent.target, ast.Name):
        return parent.target.id
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        return parent.targets[0].id
    outer = parents[parent]
    if isinstance(parent, ast.Tuple) and isinstance(outer, ast.Assign):
        target = outer.targets[0]
        if isinstance(target, ast.Tuple):
            one = target.elts[parent.elts.index(call)]
            return one.id if isinstance(one, ast.Name) else None
    return None
