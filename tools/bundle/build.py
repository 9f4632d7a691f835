"""The modules of a device as texts."""

from __future__ import annotations

import ast

from bundle.rewrite import Rewriter, alias_of, assignment
from bundle.world import Module, World


def texts(world: World) -> dict[str, str]:
    """Module -> its text for the device. A package of words alone has none."""
    found = {}
    for module in world.modules.values():
        home = world.home(module.name)
        if home == module.name in world.bundles:
            found[module.name] = _bundle(world, module.name)
        elif home != module.name:
            found[module.name] = _alias(world, module)
        elif module.is_native:
            found[module.name] = module.text
        else:
            found[module.name] = _text(Rewriter(module, world).body())
    return found


def _bundle(world: World, bundle: str) -> str:
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
    return _text(body)


def _single(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(statement, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(statement.module, [alias], 0)


def _alias(world: World, module: Module) -> str:
    """What a bundled module is to those who import it by its own name, applications and tests."""
    public = sorted(name for name in module.defined if not name.startswith("_"))
    body: list[ast.stmt] = []
    if public:
        names = [alias_of(world.final_name(module.name, name), name) for name in public]
        body.append(ast.ImportFrom(world.home(module.name), names, 0))
    for name, value in module.constants.items():
        if not name.startswith("_"):
            body.append(assignment(name, value))
    return _text(body)


def _text(body: list[ast.stmt]) -> str:
    code = [statement for statement in body if not _is_docstring(statement)]
    return ast.unparse(ast.fix_missing_locations(ast.Module(code, []))) + "\n" if code else ""


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
