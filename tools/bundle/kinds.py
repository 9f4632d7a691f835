"""Numbers for the names of kinds: MicroPython keeps each name for ever, a small number nowhere.

The modules that plan.py lists describe messages by tables: KINDS gives each kind of value a name,
tables and calls mention it. On a device all of them mention its number.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator


def numbered(trees: list[ast.Module]) -> list[ast.Module]:
    """The modules with numbers for the names of kinds."""
    names = dict.fromkeys(name for tree in trees for name in _names(tree))
    numbers = {name: number for number, name in enumerate(names, 1)}  # none of them is false
    return [_Numbers(numbers).visit(tree) for tree in trees]


def _names(tree: ast.Module) -> Iterator[str]:
    """Keys of KINDS = {...} and of X.KINDS[...] = ..., and what their values begin with."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name("KINDS")], value=ast.Dict(keys=keys, values=values)):
                yield from _texts(keys)
                yield from _texts(
                    value.elts[0] for value in values if isinstance(value, ast.Tuple)
                )
            case ast.Assign(targets=[ast.Subscript(value=ast.Attribute(attr="KINDS"), slice=key)]):
                yield from _texts([key])


def _texts(nodes: Iterable[ast.expr | None]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Constant(value=str(text)):
                yield text


class _Numbers(ast.NodeTransformer):
    def __init__(self, numbers: dict[str, int]) -> None:
        self._numbers = numbers

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node.func:
            case ast.Name("namedtuple"):  # has names of fields
                return node
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        match node.value:
            case str(text) if text in self._numbers:
                return ast.copy_location(ast.Constant(self._numbers[text]), node)
        return node
