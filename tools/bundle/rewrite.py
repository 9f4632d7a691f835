"""A module as it is on the device: values for constants, imports from where things are there.

`NAME = const(...)`, or another value, costs no name there, whoever imports it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from bundle.world import (
    BundleError,
    Constant,
    Defined,
    Function,
    Meaning,
    Module,
    Reference,
    Value,
    World,
    bindings,
    constant_name,
    original,
)

# The names of one scope: what they mean, or None for what is bound there.
_Scope = dict[str, Meaning | None]


class Rewriter(ast.NodeTransformer):
    """Rewrites the tree of one module."""

    def __init__(self, module: Module, world: World) -> None:
        self._module = module
        self._world = world
        self._home = world.home(module.name)
        self._bundled = self._home in world.bundles
        scope = self._bound(module.tree.body)
        scope |= {name: Constant(value) for name, value in module.constants.items()}
        for name in module.defined:
            if name not in module.imports:
                scope[name] = Defined(module.name, name)
        self._scopes = [scope]

    def body(self) -> list[ast.stmt]:
        """The statements of the module on the device."""
        found: list[ast.stmt] = []
        for statement in self._module.tree.body:
            name = constant_name(statement)
            if name not in self._module.constants:
                found += self._visit_all([statement])
            elif not self._bundled and not name.startswith("_"):
                found.append(assignment(name, self._module.constants[name]))
        return found

    # -- what names mean ----------------------------------------------------------------------

    def _bound(self, body: Iterable[ast.AST]) -> _Scope:
        """What names mean that are bound here: what was imported, or None for anything else."""
        found: _Scope = {}
        for name, node in bindings(body):
            meaning = None
            if isinstance(node, ast.ImportFrom) and node.module in self._world.modules:
                meaning = self._world.meaning(node.module, original(node, name))
            if found.get(name, meaning) == meaning:
                found[name] = meaning
            elif self._is_here(found[name]) or self._is_here(meaning):
                raise self._fail(node, f"{name} is one of two things, and one is in the bundle")
            else:
                found[name] = None
        return found

    def _meaning(self, name: str) -> Meaning | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return None

    def _is_here(self, meaning: Meaning | None) -> bool:
        """Whether the module has it without an import."""
        return isinstance(meaning, (Defined, Reference)) and (
            self._world.home(meaning.module) == self._home
        )

    def _fail(self, node: ast.AST, text: str) -> BundleError:
        return BundleError(f"{self._module.path}:{getattr(node, 'lineno', 0)}: {text}")

    def _global(self, node: ast.AST, meaning: Defined) -> str:
        """The name of something here, which no scope in between may hide."""
        name = self._world.final_name(*meaning)
        for scope in self._scopes[1:]:
            if name in scope and scope[name] != meaning:
                raise self._fail(node, f"{name} of {meaning.module} is hidden by a local name")
        return name

    # -- names --------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> ast.expr:
        meaning = self._meaning(node.id)
        if isinstance(meaning, Constant):
            return ast.copy_location(ast.Constant(meaning.value), node)
        if self._is_here(meaning):
            if not isinstance(meaning, Defined):
                raise self._fail(node, f"{node.id} is no module on the device")
            return ast.copy_location(ast.Name(self._global(node, meaning), node.ctx), node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        module = self._meaning(node.value.id) if isinstance(node.value, ast.Name) else None
        if isinstance(module, Reference):
            meaning = self._world.meaning(module.module, node.attr)
            if isinstance(meaning, Constant):
                return ast.copy_location(ast.Constant(meaning.value), node)
            if isinstance(meaning, Defined) and self._is_here(module):
                return ast.copy_location(ast.Name(self._global(node, meaning), node.ctx), node)
            if isinstance(meaning, Defined):
                node.attr = self._world.final_name(*meaning)
                return node
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Name) and node.func.id == "const":
            raise self._fail(node, "const() stands in NAME = const(...) of a module only")
        self.generic_visit(node)
        return node

    def visit_Global(self, node: ast.Global) -> ast.Global:
        names = [self._world.final_name(self._module.name, name) for name in node.names]
        return ast.copy_location(ast.Global(names), node)

    # -- imports ------------------------------------------------------------------------------

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        if node.module not in self._world.modules:
            return [node]
        found: dict[str, list[ast.alias]] = {}
        modules = []
        for alias in node.names:
            local = alias.asname or alias.name
            if node.module == "perun.compat" and alias.name in ("const", *self._world.known):
                continue
            meaning = self._world.meaning(node.module, alias.name)
            if isinstance(meaning, Constant) or self._is_here(meaning):
                continue
            home = self._world.home(meaning.module)
            if isinstance(meaning, Reference):
                # Not from its package, which would have to look for it (build.py).
                modules.append(ast.Import([ast.alias(home, local)]))
            else:
                name = self._world.final_name(*meaning)
                found.setdefault(home, []).append(alias_of(name, local))
        names = (ast.ImportFrom(module, names, 0) for module, names in found.items())
        return [ast.copy_location(one, node) for one in (*modules, *names)]

    def visit_If(self, node: ast.If) -> ast.If:
        """A branch without its imports may be empty."""
        node.test = self.visit(node.test)
        node.body = self._visit_all(node.body) or [ast.Pass()]
        node.orelse = self._visit_all(node.orelse)
        return node

    # -- scopes -------------------------------------------------------------------------------

    def _inside(self, scope: _Scope, node: ast.AST, fields: Iterable[str]) -> None:
        """Visit these fields of a node with the names of a new scope."""
        self._scopes.append(scope)
        for field in fields:
            old = getattr(node, field)
            new = self._visit_all(old) if isinstance(old, list) else self.visit(old)
            setattr(node, field, new or [ast.Pass()])
        self._scopes.pop()

    def _visit_all(self, nodes: list[Any]) -> list[Any]:
        found = []
        for node in nodes:
            done = self.visit(node)
            found.extend(done if isinstance(done, list) else [done] if done else [])
        return found

    def _function_scope(self, arguments: ast.arguments, body: list[ast.stmt]) -> _Scope:
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        stars = (arguments.vararg, arguments.kwarg)
        scope: _Scope = {one.arg: None for one in (*every, *stars) if one}
        scope |= self._bound(body)
        for node in ast.walk(ast.Module(body, [])):
            if isinstance(node, ast.Global):
                for name in node.names:
                    scope.pop(name, None)
        return scope

    def _outside(self, node: Any) -> None:
        """What a definition evaluates where it stands."""
        for field in ("decorator_list", "bases"):
            if hasattr(node, field):
                setattr(node, field, self._visit_all(getattr(node, field)))
        if hasattr(node, "args"):
            node.args.defaults = self._visit_all(node.args.defaults)
            node.args.kw_defaults = [one and self.visit(one) for one in node.args.kw_defaults]

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self._outside(node)
        self._rename(node)
        self._inside(self._function_scope(node.args, node.body), node, ("body",))
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._outside(node)
        self._inside(self._function_scope(node.args, []), node, ("body",))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Names of a class body are no names for its methods: the statements see them, no more."""
        self._outside(node)
        self._rename(node)
        names: _Scope = {name: None for name, _ in bindings(node.body)}
        found = []
        for statement in node.body:
            inner = {} if isinstance(statement, Function) else names
            self._scopes.append(inner)
            found += self._visit_all([statement])
            self._scopes.pop()
        node.body = found
        return node

    def _rename(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        if len(self._scopes) == 1:
            node.name = self._world.final_name(self._module.name, node.name)

    def _comprehension(self, node: Any) -> Any:
        targets = [generator.target for generator in node.generators]
        fields = [name for name in ("key", "value", "elt") if hasattr(node, name)]
        scope: _Scope = {name: None for name, _ in bindings(targets)}
        self._inside(scope, node, ("generators", *fields))
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


def alias_of(name: str, local: str) -> ast.alias:
    """name, or name as local."""
    return ast.alias(name, None if name == local else local)


def assignment(name: str, value: Value) -> ast.Assign:
    """name = value"""
    node = ast.Assign([ast.Name(name, ast.Store())], ast.Constant(value))
    return ast.fix_missing_locations(node)
