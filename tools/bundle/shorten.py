"""Names that nobody reads on a device: parameters, and what is private to a class (`self._name`)
or to a module (`_name`).

MicroPython keeps every name once, for ever, and with it the names of parameters, although callers
give them by position. So they get names that all functions and classes share. What an application
may use stays: functions, public methods and attributes, parameters with a default or given by name
anywhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bundle.world import BundleError, Function, World, bindings

# Words that every MicroPython has in its flash, so that they cost no memory. No protocol of the
# machine looks for them (as for `read` or `send`), and no exception has them.
_SHORT = """
    lower upper strip lstrip rstrip find rfind rindex split rsplit replace startswith endswith
    partition rpartition splitlines center isalpha isdigit isspace islower isupper encode decode
    union discard difference intersection issubset issuperset isdisjoint setdefault popitem
    fromkeys insert reverse extend collect isenabled threshold mem_alloc mem_free mem_info
    qstr_info heap_lock heap_unlock opt_level kbd_intr schedule byteorder maxsize platform argv
    implementation print_exception stdin stdout stderr sqrt exp log cos sin tan acos asin atan
    atan2 ceil fabs floor fmod frexp ldexp modf trunc radians degrees isfinite isinf isnan copysign
""".split()
_SHORT += [f"_{a}{b}" for a in "ab" for b in "abcdefghijklmnopqrstuvwxyz"]


class Kept(NamedTuple):
    """Names that stay as they are."""

    keywords: frozenset[str]  # given to a function by name
    attributes: frozenset[str]  # seen by others than the methods of their class, or the module
    imported: frozenset[str]  # known to other modules


def kept(world: World, trees: Iterable[ast.Module]) -> Kept:
    """What stays in these modules, which are all that run together. trees: what becomes of them,
    each a module of the device."""
    keywords: set[str] = set()
    attributes: set[str] = set()
    imported: set[str] = set()
    for cls in (cls for tree in trees for cls in _extending(tree)):
        attributes.update(node.name for node in cls.body if isinstance(node, Function))
        attributes.update(node.attr for node in ast.walk(cls) if isinstance(node, ast.Attribute))
    for node in (node for module in world.modules.values() for node in ast.walk(module.tree)):
        if isinstance(node, ast.keyword) and node.arg:
            keywords.add(node.arg)
        elif isinstance(node, ast.Attribute) and not _is_own(node):
            attributes.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            attributes.add(node.value)  # it may be given to getattr()
        elif isinstance(node, ast.ImportFrom) and node.module not in world.bundles:
            imported |= {alias.name for alias in node.names}  # a bundle's are told: see build.py
    return Kept(frozenset(keywords), frozenset(attributes), frozenset(imported))


def shorten(tree: ast.Module, stays: Kept) -> dict[str, str]:
    """Rename in place. Returns the new names of what the module binds."""
    names = _shorten_globals(tree, stays)
    _shorten_parameters(tree, stays.keywords)
    for family in _families(tree):
        _shorten_attributes(family, stays.attributes)
    return names


def _shorten_globals(tree: ast.Module, stays: Kept) -> dict[str, str]:
    """What a module binds for itself, and what it imports from others of these modules. A local of
    the same name gets the same new one."""
    in_classes = {
        name
        for cls in ast.walk(tree)
        if isinstance(cls, ast.ClassDef)
        for name, _ in bindings(cls.body)
    }
    nodes: dict[str, list[ast.AST]] = {}
    for name, node in bindings(tree.body):
        nodes.setdefault(name, []).append(node)
    names = [
        name
        for name, binding in nodes.items()
        if name not in in_classes | stays.attributes
        and (all(map(_is_own_import, binding)) or _is_private(name) and name not in stays.imported)
    ]
    used = {name for node in ast.walk(tree) for name in _names(node)}
    free = (name for name in _SHORT if name not in used)
    short = dict(zip(names, free, strict=False))
    if len(short) < len(names):
        raise BundleError(f"{names[len(short)]}: no short name is left in its module")
    for node in ast.walk(tree):
        match node:
            case ast.Name():
                node.id = short.get(node.id, node.id)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                node.name = short.get(node.name, node.name)
            case ast.arg():
                node.arg = short.get(node.arg, node.arg)
            case ast.Global():
                node.names = [short.get(name, name) for name in node.names]
            case ast.ExceptHandler():
                node.name = short.get(node.name or "", node.name)
            case ast.alias() if (node.asname or node.name) in short:
                node.asname = short[node.asname or node.name]
    return short


def _is_private(name: str) -> bool:
    return name[0] == "_" and name[:2] != "__"


def _is_own_import(node: ast.AST) -> bool:
    """Whether this imports from a package of ours: nobody looks for that here."""
    match node:
        case ast.ImportFrom(module=str(name)):
            return name.split(".")[0] == "perun"
        case ast.Import(names=[ast.alias(name=name, asname=str())]):
            return name.split(".")[0] == "perun"
    return False


def _names(node: ast.AST) -> Iterator[str]:
    """The identifiers that this node itself has."""
    match node:
        case ast.Name(id=name) | ast.arg(arg=name):
            yield name
        case (
            ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name)
        ):
            yield name
        case ast.alias():
            yield node.asname or node.name


def _shorten_parameters(node: ast.AST, keywords: frozenset[str]) -> None:
    for child in ast.iter_child_nodes(node):  # inner functions first
        _shorten_parameters(child, keywords)
    if not isinstance(node, (*Function, ast.Lambda)):
        return
    arguments = node.args
    required = arguments.args[: len(arguments.args) - len(arguments.defaults)]
    body = node.body if isinstance(node.body, list) else [node.body]
    names = [child for part in body for child in ast.walk(part) if isinstance(child, ast.Name)]
    used = {name.id for name in names} | set(_arguments(node))
    inner = set(_inner_names(body))
    for one in required:
        if one.arg == "self" or one.arg in keywords or one.arg in inner:
            continue
        short = next(name for name in _SHORT if name not in used)
        used.add(short)
        for name in names:
            if name.id == one.arg:
                name.id = short
        one.arg = short


def _arguments(node: ast.AST) -> Iterator[str]:
    return (one.arg for one in ast.walk(node) if isinstance(one, ast.arg))


def _inner_names(body: Iterable[ast.AST]) -> Iterator[str]:
    """The names that functions and comprehensions inside bind anew."""
    for node in (node for part in body for node in ast.walk(part)):
        if isinstance(node, (*Function, ast.Lambda)):
            yield from _arguments(node.args)
        if isinstance(node, Function):
            yield from (name for name, _ in bindings(node.body))
        if isinstance(node, ast.comprehension):
            yield from (name for name, _ in bindings([node.target]))


def _extending(tree: ast.Module) -> list[ast.ClassDef]:
    """The classes that extend another module's: what they share with it is not private."""
    own = [cls for family in _families(tree) for cls in family]
    return [node for node in tree.body if isinstance(node, ast.ClassDef) and node not in own]


def _families(tree: ast.Module) -> list[list[ast.ClassDef]]:
    """Classes with those that they extend. One that extends another module's class is left out."""
    imported = {
        name
        for name, node in bindings(tree.body)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    families: list[list[ast.ClassDef]] = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
        related = [one for one in families if any(cls.name in bases for cls in one)]
        families = [one for one in families if one not in related]
        families.append([cls for one in related for cls in one] + [node])
    return [
        family
        for family in families
        if not any(_base_name(base) in imported for cls in family for base in cls.bases)
    ]


def _base_name(base: ast.expr) -> str:
    return base.id if isinstance(base, ast.Name) else ""


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def _shorten_attributes(family: list[ast.ClassDef], stays: frozenset[str]) -> None:
    uses = [
        node
        for cls in family
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute) and _is_own(node)
    ]
    methods = [node for cls in family for node in cls.body if isinstance(node, Function)]
    # What else a class body binds or names (a constant, an alias) is left as it is.
    plain = {
        node.id
        for cls in family
        for statement in cls.body
        if not isinstance(statement, Function)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }
    plain |= {name for cls in family for name, node in bindings(cls.body) if node not in methods}
    names = sorted(
        {name for name in {node.attr for node in uses} if _is_private(name)} - plain - stays
    )
    public = plain | {node.attr for node in uses} | {method.name for method in methods} | stays
    free = [name for name in _SHORT if name not in public]
    if len(names) > len(free):
        raise BundleError(f"{family[0].name} and its relatives have too many private names")
    short = dict(zip(names, free, strict=False))
    for node in uses:
        node.attr = short.get(node.attr, node.attr)
    for method in methods:
        method.name = short.get(method.name, method.name)
