"""The texts of errors in one piece: in a module that is loaded for an error, or, where there are
few, in a single string.

A text of its own takes 32 bytes of a heap more than its characters, and is rounded up.
"""

from __future__ import annotations

import ast

from bundle.rewrite import assignment

_ERROR = "_ERROR"  # makes an error
_TEXTS = "_TEXTS"  # all texts
_LONGEST_NAME = (
    10  # characters: a short text is a name for MicroPython, which keeps each name once
)
_WORTH_A_MODULE = 1000  # characters of texts

# Errors are rare: their texts are loaded for one, by where they begin. What fails for want of
# memory has other words, but never none: an empty reason would be taken for consent.
_LOADER = """def _ERROR(kind, at, *values):
    try:
        texts = borrowed("{0}").TEXTS
        text = texts[at : texts.find("\\n", at)]
        return kind(text % values if values else text)
    except MemoryError:
        return kind("no memory")
"""


def with_texts(body: list[ast.stmt], name: str) -> tuple[list[ast.stmt], str]:
    """The statements without the texts of errors, and the module of that name with these, if they
    are worth one."""
    raised = [node for one in body for node in ast.walk(one) if isinstance(node, ast.Raise)]
    texts = {text for node in raised for one in ast.walk(node) if (text := _long(one))}
    if not texts:
        return body, ""
    if sum(map(len, texts)) < _WORTH_A_MODULE:
        few = _Few()
        body = [few.visit(statement) for statement in body]
        return [assignment(_TEXTS, few.all), *body], ""
    many = _Many()
    body = [many.visit(statement) for statement in body]
    imported = (one.names[0].name for one in body if isinstance(one, ast.ImportFrom))
    first = [] if "borrowed" in imported else [_import("perun.compat", "borrowed")]
    loader = ast.parse(_LOADER.format(name)).body
    return [*first, *loader, *body], ast.unparse(assignment("TEXTS", many.all)) + "\n"


def _import(module: str, name: str) -> ast.stmt:
    return ast.ImportFrom(module, [ast.alias(name)], 0)


def _long(node: ast.AST) -> str:
    """The text that this is, or "" for a short one and for anything else."""
    match node:
        case ast.Constant(value=str(text)) if len(text) > _LONGEST_NAME:
            return text
    return ""


class _Few(ast.NodeTransformer):
    """Cuts the texts of `raise` statements out of a single one."""

    def __init__(self) -> None:
        self.all = ""
        self._raising = False

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        self._raising = True
        self.generic_visit(node)
        self._raising = False
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        text = _long(node) if self._raising else ""
        if not text:
            return node
        at = self.all.find(text)
        if at < 0:
            at = len(self.all)
            self.all += text
        ends = ast.Slice(ast.Constant(at), ast.Constant(at + len(text)))
        return ast.Subscript(ast.Name(_TEXTS, ast.Load()), ends, ast.Load())


class _Many(ast.NodeTransformer):
    """`raise Kind(text % values)` becomes `raise _ERROR(Kind, where the text begins, *values)`."""

    def __init__(self) -> None:
        self.all = ""  # each text with a newline after it

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        match node.exc:
            case ast.Call(func=kind, args=[argument], keywords=[]):
                text, values = _format(argument)
                if any(map(_long, ast.walk(argument))) and "\n" not in text:
                    start = ast.Constant(self._start(text if values else text % ()))
                    node.exc = ast.Call(ast.Name(_ERROR, ast.Load()), [kind, start, *values], [])
        return node

    def _start(self, text: str) -> int:
        text += "\n"
        at = self.all.find(text)
        if at < 0:
            at = len(self.all)
            self.all += text
        return at


def _format(node: ast.expr) -> tuple[str, list[ast.expr]]:
    """A format and its values that give the same text."""
    match node:
        case ast.Constant(value=str(text)):
            return text.replace("%", "%%"), []
        case ast.BinOp(
            left=ast.Constant(value=str(text)), op=ast.Mod(), right=ast.Tuple(elts=all)
        ):
            return text, all
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod(), right=value):
            return text, [value]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            (text, values), (more, others) = _format(left), _format(right)
            return text + more, values + others
    return "%s", [node]
