"""All modules of a device: what they define and import, and where that is in its build."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bundle.kinds import numbered

Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*Function, ast.ClassDef, ast.Lambda)
_LONGEST = 32  # of a text or bytes that are written wherever they are used
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class BundleError(Exception):
    """The modules cannot be bundled. The text says which line is in the way."""


Value = int | str | bytes


class Constant(NamedTuple):
    """A name means a value that is known at build time."""

    value: Value


class Defined(NamedTuple):
    """A name means what a module defines."""

    module: str
    name: str


class Reference(NamedTuple):
    """A name means a module."""

    module: str


Meaning = Constant | Defined | Reference


@dataclass
class Module:
    """A source file."""

    name: str
    path: Path  # below its root
    text: str
    tree: ast.Module = field(init=False)
    constants: dict[str, Value] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # of the library
    foreign: dict[str, str] = field(default_factory=dict)  # imports of others: name -> statement
    defined: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tree = ast.parse(self.text, str(self.path))

    @property
    def is_native(self) -> bool:
        """Native code is compiled as it is."""
        return "import micropython\n" in self.text


class World:
    """sources: root folders; bundles, known, kinds: see plan.py."""

    def __init__(
        self,
        sources: Iterable[Path],
        bundles: Mapping[str, tuple[str, ...]],
        known: dict[str, bool],
        kinds: Iterable[str] = (),
    ) -> None:
        self.modules = {module.name: module for root in sources for module in _read(root)}
        self.bundles = bundles
        self._homes = {member: bundle for bundle in bundles for member in bundles[bundle]}
        for member in (*bundles, *self._homes, *kinds):
            if member not in self.modules:
                raise BundleError(f"{member}: no such module")
        tables = [self.modules[name] for name in kinds]
        for module, tree in zip(tables, numbered([one.tree for one in tables]), strict=True):
            module.tree = tree
        for module in self.modules.values():
            module.tree = ast.fix_missing_locations(Fold(known).visit(module.tree))
            self._collect(module)
        self.known = known
        self._wanted = set(self._wanted_outside())
        self._names = {bundle: self._final_names(bundle) for bundle in bundles}

    def _collect(self, module: Module) -> None:
        for name, node in bindings(module.tree.body):
            if isinstance(node, ast.ImportFrom) and node.module in self.modules:
                module.imports[name] = node.module, original(node, name)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                module.foreign[name] = ast.unparse(node)
            else:
                module.defined.add(name)
        if not module.is_native:
            module.constants = dict(_constants(module))
            module.defined -= set(module.constants)

    # -- where things are ---------------------------------------------------------------------

    def home(self, module: str) -> str:
        """The module of the device that has what this module has: its bundle, or itself."""
        return self._homes.get(module, module)

    def members(self, bundle: str) -> list[Module]:
        """The modules of a bundle, each after those that it needs to be loaded."""
        order: list[str] = []

        def add(name: str) -> None:
            if name in order or self.home(name) != bundle:
                return
            for needed, attribute in self.modules[name].imports.values():
                inner = f"{needed}.{attribute}"
                add(inner if inner in self.modules else needed)
            if name not in order:
                order.append(name)

        for member in self.bundles[bundle]:
            add(member)
        return [self.modules[name] for name in order]

    def final_name(self, module: str, name: str) -> str:
        """What a module defines as `name` has this name on the device."""
        return self._names.get(self.home(module), {}).get((module, name), name)

    def _final_names(self, bundle: str) -> dict[tuple[str, str], str]:
        """Names that two modules of the bundle have, or that builtins have, get another one.

        So does what shows its name to nobody: a private one, which is then shortened. Who
        imports it by its name is told (build.py).
        """
        names: dict[tuple[str, str], str] = {}
        members = [self.modules[name] for name in self.bundles[bundle]]
        taken = set(dir(builtins))
        for module in members:
            for name, statement in module.foreign.items():
                if any(other.foreign.get(name, statement) != statement for other in members):
                    raise BundleError(
                        f"{module.path}: {name} is something else elsewhere in {bundle}"
                    )
                taken.add(name)
        for module in members:
            for name in sorted(module.defined):
                final = name
                if module.name != bundle and self._is_inner(module, name):
                    final = f"_{name}"
                if final in taken:
                    final = name
                if final in taken:
                    final = "_".join((name, *(module.name.split(".")[1:] or [module.name])))
                if final in taken:
                    raise BundleError(f"{module.path}: no name is left for {name} in {bundle}")
                taken.add(final)
                names[module.name, name] = final
        return names

    def _is_inner(self, module: Module, name: str) -> bool:
        """Whether nothing shows its name: errors do, for one, and whoever uses it as an attribute
        of its module."""
        return (
            name[0] != "_"
            and (module.name, name) not in self._wanted
            and any(_is_nameless(node, name) for node in module.tree.body)
        )

    def _wanted_outside(self) -> Iterator[tuple[str, str]]:
        """What is used as an attribute of its module by one with another home: module, name."""
        for module in self.modules.values():
            references = {}
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ImportFrom) and node.module in self.modules:
                    for alias in node.names:
                        meaning = self.meaning(node.module, alias.name)
                        if isinstance(meaning, Reference):
                            references[alias.asname or alias.name] = meaning.module
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    other = references.get(node.value.id)
                    if other and self.home(other) != self.home(module.name):
                        yield other, node.attr

    def named(self) -> set[str]:
        """The modules that are named in texts: those that are borrowed, for one."""
        texts = {
            node.value
            for module in self.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        return texts & set(self.modules)

    # -- what names mean ----------------------------------------------------------------------

    def meaning(self, module: str, name: str) -> Meaning:
        """What `from module import name` gives."""
        inner = f"{module}.{name}"
        if inner in self.modules:
            return Reference(inner)
        if module not in self.modules:
            raise BundleError(f"{inner}: no such module")
        found = self.modules[module]
        if name in found.constants:
            return Constant(found.constants[name])
        if name in found.imports:
            return self.meaning(*found.imports[name])
        if name in found.defined or name in found.foreign:
            return Defined(module, name)
        raise BundleError(f"{module} has no {name}")


def _is_nameless(node: ast.stmt, name: str) -> bool:
    """Whether this defines `name`: a function, a class that extends nothing, or plain data."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return node.name == name
        case ast.ClassDef():
            return node.name == name and not node.bases
        case ast.Assign(targets=[ast.Name(id=target)]):
            return target == name and isinstance(node.value, (ast.Dict, ast.Tuple, ast.List))
    return False


def _read(root: Path) -> Iterator[Module]:
    for path in sorted(root.rglob("*.py")):
        below = path.relative_to(root)
        parts = below.with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if below.name != "manifest.py" and parts[0] != "examples":
            yield Module(".".join(parts), below, path.read_text())


class Fold(ast.NodeTransformer):
    """Puts values for names, and drops the branches that they rule out."""

    def __init__(self, known: dict[str, bool]) -> None:
        self._known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self._known:
            return ast.copy_location(ast.Constant(self._known[node.id]), node)
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node


def _constants(module: Module) -> Iterator[tuple[str, Value]]:
    """Upper-case names of a module that have one value, which can be computed here."""
    found: dict[str, Value] = {}
    allowed = {"__builtins__": {"bytes": bytes}, "const": lambda value: value}
    for statement in module.tree.body:
        name = constant_name(statement)
        if not name:
            continue
        assert isinstance(statement, ast.Assign)
        try:
            code = compile(ast.Expression(statement.value), str(module.path), "eval")
            value = eval(code, allowed, found)
        except (NameError, TypeError):
            continue
        if name in found:
            raise BundleError(f"{module.path}:{statement.lineno}: {name} has two values")
        if isinstance(value, int) or isinstance(value, (str, bytes)) and len(value) <= _LONGEST:
            found[name] = value
            yield name, value


def constant_name(statement: ast.stmt) -> str:
    """NAME in `NAME = ...`, else ""."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) if name.isupper():
            return name
    return ""


def original(node: ast.ImportFrom, local: str) -> str:
    """The name that an import gives the local name to."""
    return next(alias.name for alias in node.names if (alias.asname or alias.name) == local)


def bindings(body: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """The names that these nodes bind in their own scope, and the nodes that do it."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], node
        elif isinstance(node, (*Function, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id, node
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node
        if not isinstance(node, (*_SCOPES, *_COMPREHENSIONS)):
            yield from bindings(ast.iter_child_nodes(node))
