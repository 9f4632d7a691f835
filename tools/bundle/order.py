"""The names of a module in the order that makes it small, and no more constants than it needs.

MicroPython numbers the names of a module in the order in which its compiler meets them, and its
bytecode has one byte for the first 128, two for the others. So those that functions use most come
first, not those that stand at the top and are used there alone.

A text is a name if it has at most ten characters or is a name already, else an object of 64 bytes
for each time that it stands there; in a tuple of constants it is an object unless the module has
it as a name. So texts that look like names, of fields and keys mostly, follow; not in a module
that is borrowed, for names stay for ever.

A tuple of constants stays as long as its module. The fields of a namedtuple are needed once: as a
list they are built, and forgotten.
"""

from __future__ import annotations

import ast
import keyword
from collections import Counter
from collections.abc import Iterator

from bundle.world import Function

_ONE_BYTE = 125  # names, after that of the source, of the module and of the variable below
_LONGEST_NAME = 10  # characters
_FUNCTIONS = (*Function, ast.Lambda)


def names_first(body: list[ast.stmt], stays: bool) -> list[ast.stmt]:
    """The statements of a module that stays in memory, or does not, with one in front that does
    nothing but name the names."""
    tree = ast.Module(body, [])
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name("namedtuple"), args=[_, ast.Tuple(elts=[_, *_] as fields)]
            ):
                node.args[1] = ast.List(fields, ast.Load())
    operands = Counter(_operands(tree))
    names = [name for name, _ in operands.most_common(_ONE_BYTE)]
    if len(operands) <= _ONE_BYTE:
        names = []
    if stays:
        names += dict.fromkeys(text for text in _objects(tree) if text not in names)
    if not names:
        return body
    chain: ast.expr = ast.Name("lower", ast.Load())
    for name in names:
        chain = ast.Attribute(chain, name, ast.Load())
    never = ast.For(
        ast.Name("lower", ast.Store()), ast.Tuple([], ast.Load()), [ast.Expr(chain)], []
    )
    return [never, *body]


def _operands(tree: ast.AST) -> Iterator[str]:
    """The names in the bytecode of all functions."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node.name
    for function in _outermost(tree):
        inside = list(ast.walk(function))
        local = {node.arg for node in inside if isinstance(node, ast.arg)}
        yield from (node.arg for node in inside if isinstance(node, ast.arg))
        local |= {
            node.id
            for node in inside
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for node in inside:
            match node:
                case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                    yield name
                case ast.Name(id=name) if name not in local:
                    yield name
                case ast.Constant(value=str(text)) if (
                    _is_name(text) and len(text) <= _LONGEST_NAME
                ):
                    yield text


def _outermost(node: ast.AST) -> Iterator[ast.AST]:
    """The functions that are in no function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS):
            yield child
        else:
            yield from _outermost(child)


def _objects(tree: ast.AST) -> Iterator[str]:
    """Texts that would be objects and can be names."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if _is_name(text) and len(text) > _LONGEST_NAME:
                yield text
            case ast.Tuple(elts=elements) if _is_constant(node):
                texts = (one.value for one in elements if isinstance(one, ast.Constant))
                yield from (text for text in texts if isinstance(text, str) and _is_name(text))


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(_is_constant, node.elts))
    return isinstance(node, ast.Constant)


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)
