"""The modules of a device as texts."""

from __future__ import annotations

import ast
from pathlib import Path

from bundle.rewrite import Rewriter, alias_of, assignment
from bundle.shorten import kept, shorten
from bundle.world import Module, World

_TEXTS = "_TEXTS"
_LONGEST_NAME = 10  # characters
_WORTH_A_MODULE = 1000  # characters of texts

# Errors are rare: their texts are in a module that is loaded for one. What fails for want of
# memory fails with fewer words.
_LOADER = """def _TEXTS(start, end):
    try:
        return borrowed("{0}").TEXTS[start:end]
    except MemoryError:
        return ""
"""


# A package is loaded with each module in it: its names come when somebody asks for one.
_PACKAGE = """def __getattr__(name):
    names = __import__("{0}._names", None, None, ("*",))
    if hasattr(names, name):
        return getattr(names, name)
    return __import__("{0}." + name, None, None, ("*",))
"""


def texts(world: World) -> dict[Path, str]:
    """File -> its text for the device. A package of words alone has none."""
    found: dict[Path, str] = {}
    bodies: dict[Path, list[ast.stmt]] = {}
    aliases: dict[Path, tuple[list[ast.stmt], str]] = {}
    for module in world.modules.values():
        home = world.home(module.name)
        path = module.path
        if home == module.name in world.bundles:
            name = _texts_of(module.name)
            bodies[path], texts = _with_texts(_bundle(world, module.name), name)
            found[Path(*name.split(".")).with_suffix(".py")] = texts
        elif home != module.name:
            if path.name == "__init__.py":
                found[path] = _PACKAGE.format(module.name)
                path = path.with_name("_names.py")
            aliases[path] = _alias(world, module), home
        elif module.is_native:
            found[path] = module.text
        else:
            bodies[path] = Rewriter(module, world).body()
    stays = kept(
        (module.tree for module in world.modules.values()),
        (ast.Module(body, []) for body in bodies.values()),
    )
    short: dict[Path, dict[str, str]] = {}
    for path, body in bodies.items():
        tree = _tree(body)
        short[path] = shorten(tree, stays)
        found[path] = _source(tree)
    for path, (body, home) in aliases.items():
        names = short[world.modules[home].path]
        for node in body:
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                local = alias.asname or alias.name
                alias.name = names.get(alias.name, alias.name)
                alias.asname = None if local == alias.name else local
        found[path] = _source(_tree(body))
    return {path: text for path, text in found.items() if text}


def _bundle(world: World, bundle: str) -> list[ast.stmt]:
    """One module after the other; what is imported twice is imported once."""
    body: list[ast.stmt] = []
    seen = set()
    for module in world.members(bundle):
        for statement in Rewriter(module, world).body():
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                for alias in statement.names:
                    one = _single(statement, alias)
                    if ast.unparse(one) not in seen:
                        seen.add(ast.unparse(one))
                        body.append(one)
            else:
                body.append(statement)
    return body


def _texts_of(bundle: str) -> str:
    """The module with a bundle's texts."""
    package, dot, name = bundle.rpartition(".")
    return f"{package}{dot}_{name}_texts"


class _Texts(ast.NodeTransformer):
    """Takes the texts of errors out of functions."""

    def __init__(self) -> None:
        self.all = ""
        self._raising = False

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        self._raising = True
        self.generic_visit(node)
        self._raising = False
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        text = node.value
        # A short text is a name for MicroPython, which keeps each name once.
        if not self._raising or not isinstance(text, str) or len(text) <= _LONGEST_NAME:
            return node
        at = self.all.find(text)
        if at < 0:
            at = len(self.all)
            self.all += text
        ends: list[ast.expr] = [ast.Constant(at), ast.Constant(at + len(text))]
        return ast.Call(ast.Name(_TEXTS, ast.Load()), ends, [])


class _Inline(ast.NodeTransformer):
    """For few texts: cuts them out of a single one."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == _TEXTS:
            return ast.Subscript(node.func, ast.Slice(*node.args), ast.Load())
        return node


def _with_texts(body: list[ast.stmt], name: str) -> tuple[list[ast.stmt], str]:
    """The statements with the texts of errors in one piece, and the module for that, if any.

    A text of its own takes 32 bytes of a heap more than its characters, and is rounded up.
    """
    texts = _Texts()
    body = [texts.visit(statement) for statement in body]
    if not texts.all:
        return body, ""
    if len(texts.all) < _WORTH_A_MODULE:
        target = ast.Name(_TEXTS, ast.Store())
        body = [_Inline().visit(statement) for statement in body]
        return [ast.Assign([target], ast.Constant(texts.all)), *body], ""
    loader = ast.parse(_LOADER.format(name)).body
    first: list[ast.stmt] = []
    if not any(
        isinstance(one, ast.ImportFrom) and one.names[0].name == "borrowed" for one in body
    ):
        first.append(ast.ImportFrom("perun.compat", [ast.alias("borrowed")], 0))
    return [*first, *loader, *body], ast.unparse(assignment("TEXTS", texts.all)) + "\n"


def _single(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(statement, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(statement.module, [alias], 0)


def _alias(world: World, module: Module) -> list[ast.stmt]:
    """What a bundled module is to those who import it by its own name, applications and tests."""
    public = sorted(name for name in module.defined if not name.startswith("_"))
    body: list[ast.stmt] = []
    if public:
        names = [alias_of(world.final_name(module.name, name), name) for name in public]
        body.append(ast.ImportFrom(world.home(module.name), names, 0))
    for name, value in module.constants.items():
        if not name.startswith("_"):
            body.append(assignment(name, value))
    return body


def _tree(body: list[ast.stmt]) -> ast.Module:
    return ast.Module([statement for statement in body if not _is_docstring(statement)], [])


def _source(tree: ast.Module) -> str:
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n" if tree.body else ""


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
