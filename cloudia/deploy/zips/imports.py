"""What a module imports, read from its source without running it. No I/O."""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Import", "imports"]

Version: TypeAlias = tuple[int, int]

_COMPARISONS: dict[type[ast.cmpop], Callable[[tuple[object, ...], tuple[object, ...]], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MISSING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import: the absolute name of the module, and the names taken from it, each of which may be a module too."""

    module: str
    names: tuple[str, ...] = ()
    optional: bool = False
    """It stands in a `try` that goes on without it."""


def imports(source: bytes, module: str, *, package: bool, version: Version) -> list[Import]:
    """Return the imports of a module's source, also those inside functions; `package` says that it is an `__init__`.

    What only a type checker reads is left out, and so is what another version of Python than `version` would take.
    `SyntaxError` where the source cannot be read.
    """
    parent = module if package else module.rpartition(".")[0]
    return list(_walk(ast.parse(source).body, parent, version, optional=False))


def _walk(nodes: list[ast.stmt], parent: str, version: Version, *, optional: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, (), optional) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(_absolute(node, parent), names, optional)
        elif isinstance(node, ast.If) and (taken := _is_true(node.test, version)) is not None:
            yield from _walk(node.body if taken else node.orelse, parent, version, optional=optional)
        else:
            lax = optional or (isinstance(node, ast.Try) and any(map(_catches, node.handlers)))
            for block in _blocks(node):
                yield from _walk(block, parent, version, optional=lax)


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield every list of statements right inside a node."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield value
        elif isinstance(value, list):
            for inner in value:
                if isinstance(inner, ast.ExceptHandler | ast.match_case):
                    yield inner.body


def _absolute(node: ast.ImportFrom, parent: str) -> str:
    if not node.level:
        return node.module or ""
    package = parent.split(".")[: len(parent.split(".")) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _is_true(test: ast.expr, version: Version) -> bool | None:
    """Return what a test says on that version outside a type checker; None where that depends on more."""
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return False
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            known = _is_true(inner, version)
            return None if known is None else not known
        case ast.Compare(
            left=ast.Attribute(value=ast.Name(id="sys"), attr="version_info"),
            ops=[comparison],
            comparators=[ast.Tuple(elts=parts)],
        ) if type(comparison) in _COMPARISONS:
            bound = tuple(part.value for part in parts if isinstance(part, ast.Constant))
            return _COMPARISONS[type(comparison)](version, bound)
    return None


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _MISSING) for kind in kinds)
