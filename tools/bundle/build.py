"""The modules of a device as texts."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path

from bundle.errors import with_texts
from bundle.order import names_first
from bundle.rewrite import Rewriter, alias_of, assignment
from bundle.shorten import kept, shorten
from bundle.world import Module, World

# A package is loaded with each module in it: its names come when somebody asks for one.
_PACKAGE = """def __getattr__(name):
    from perun.compat import member
    return member(__name__, name)
"""
_MEMBER = """def member(package, name):
    names = __import__(package + "._names", None, None, ("*",))
    if hasattr(names, name):
        return getattr(names, name)
    return __import__(package + "." + name, None, None, ("*",))
"""


def texts(world: World, inner: Collection[str] = ()) -> dict[Path, str]:
    """File -> its text for the device. A package of words alone has none, nor has a module of
    `inner`, which nobody needs there by its own name."""
    found: dict[Path, str] = {}
    bodies: dict[Path, list[ast.stmt]] = {}
    aliases: dict[Path, ast.Module] = {}
    for module in world.modules.values():
        home = world.home(module.name)
        path = module.path
        if home == module.name in world.bundles:
            name = _texts_of(module.name)
            bodies[path], texts = with_texts(_bundle(world, module.name), name)
            found[Path(*name.split(".")).with_suffix(".py")] = texts
        elif module.name in inner:
            continue
        elif home != module.name:
            if path.name == "__init__.py":
                found[path] = _PACKAGE
                path = path.with_name("_names.py")
            aliases[path] = _tree(_alias(world, module))
        elif module.is_native:
            found[path] = module.text
        else:
            bodies[path] = Rewriter(module, world).body()
            if module.name == "perun.compat":
                bodies[path] += ast.parse(_MEMBER).body
    trees = {path: _tree(body) for path, body in bodies.items()}
    stays = kept(world, list(trees.values()))
    short = {path: shorten(tree, stays) for path, tree in trees.items()}
    for bundle in world.bundles:
        new = short[world.modules[bundle].path]
        for tree in (*trees.values(), *aliases.values()):
            _tell(tree, bundle, new)
    borrowed = {world.modules[name].path for name in world.named()}
    for path, tree in trees.items():
        tree.body = names_first(tree.body, path not in borrowed)
        found[path] = _source(tree)
    for path, tree in aliases.items():
        found[path] = _source(tree)
    return {path: text for path, text in found.items() if text}


def _tell(tree: ast.Module, bundle: str, new: dict[str, str]) -> None:
    """Who imports from a bundle is told the new names there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == bundle:
            for alias in node.names:
                local = alias.asname or alias.name
                alias.name = new.get(alias.name, alias.name)
                alias.asname = None if local == alias.name else local


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
