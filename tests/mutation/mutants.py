"""Which small changes are made to a module, and the code that each of them gives.

A mutant lies in the body of a function or method: it takes effect by changing that function's code object, in a process
that has imported everything already. Constants of modules, default arguments and decorators are therefore left alone.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

# The reason code of an error is mutated, its sentence is not: no test should pin down words.
_ERRORS = frozenset(
    {"ProofError", "NotCheckable", "LedgerError", "ValueError", "AssertionError", "refused", "_refused"}
    | {"Refused", "Conflict", "Damaged"}  # of the ledger
)
_SENTENCE = re.compile(r"[a-z,;:] [a-z]")  # any other text between words, such as a line of a report, is none either

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module. `name` says in which function, and is the same as long as that function is."""

    name: str
    module: str
    line: int
    change: str
    codes: dict["Place", CodeType]
    """The code objects that replace those at their places."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a code object begins; two lambdas of a line begin in different columns."""

    qualname: str
    line: int
    column: int


def place_of(code: CodeType) -> Place:
    """The place of a code object, by which it is found again in another compilation of the same file."""
    columns = (column for _, _, column, _ in code.co_positions() if column)
    return Place(code.co_qualname, code.co_firstlineno, min(columns, default=0) if "<" in code.co_name else 0)


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """`code` and all code objects inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def mutants_of(path: Path, module: str) -> Iterator[Mutant]:
    """All mutants of the module in the file at `path`, from top to bottom."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    original = {place_of(code): code for code in codes_of(compile(tree, str(path), "exec"))}
    numbers: Counter[str] = Counter()
    for change in _changes(tree):
        before = ast.unparse(change.old)
        change.make()
        after = ast.unparse(change.new)
        mutated = {place_of(code): code for code in codes_of(compile(tree, str(path), "exec"))}
        change.undo()
        codes = {place: code for place, code in mutated.items() if place in original and code != original[place]}
        codes = {place: code for place, code in codes.items() if _is_function(code)}
        if not codes:
            continue  # folded into the same code
        function = min(codes).qualname.split(".<locals>")[0]
        numbers[function] += 1
        yield Mutant(
            f"{module}:{function}:{numbers[function]}",
            module,
            change.line,
            f"{_short(before)}  ->  {_short(after)}",
            codes,
        )


def _is_function(code: CodeType) -> bool:
    return bool(code.co_flags & 0x2)  # CO_NEWLOCALS: neither a module nor a class body


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else line[:97] + "..."


@dataclass
class _Change:
    """Putting `new` in the place of `old` by `put`."""

    old: ast.AST
    new: ast.AST
    put: Callable[[Any], None]

    @property
    def line(self) -> int:
        return getattr(self.old, "lineno", 0)

    def make(self) -> None:
        if not hasattr(self.new, "lineno"):  # else it was there before, as what is negated, and keeps its place
            ast.copy_location(self.new, self.old)
        ast.fix_missing_locations(self.new)
        self.put(self.new)

    def undo(self) -> None:
        self.put(self.old)


def _changes(tree: ast.Module) -> Iterator[_Change]:
    for body in _bodies(tree):
        for at, statement in enumerate(body):
            yield from _in(statement, partial(body.__setitem__, at))


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The bodies of the outermost functions, and of the methods of classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child.body
        else:
            yield from _bodies(child)


def _in(node: ast.AST, put: Callable[[Any], None]) -> Iterator[_Change]:
    """The changes of `node`, then those inside it. A failpoint has none: it does nothing in production."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "reach":
        return
    for new in _variants(node):
        yield _Change(node, new, put)
    for child, put_child in _children(node):
        yield from _in(child, put_child)


def _children(node: ast.AST) -> Iterator[tuple[ast.AST, Callable[[Any], None]]]:
    for field, value in ast.iter_fields(node):
        if field in _untouched(node):
            continue
        if isinstance(value, list):
            skip = 1 if field == "args" and isinstance(node, ast.Call) and _is_error(node) else None
            for at, item in enumerate(value[:skip]):
                if isinstance(item, ast.AST):
                    yield item, partial(value.__setitem__, at)
        elif isinstance(value, ast.AST):
            yield value, partial(setattr, node, field)


def _untouched(node: ast.AST) -> frozenset[str]:
    """The fields that say nothing about what the code does: types, defaults, decorators; and docstrings."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return frozenset({"value"})
    if isinstance(node, ast.FunctionDef):
        return frozenset({"args", "returns", "decorator_list", "type_params"})
    if isinstance(node, ast.AnnAssign):
        return frozenset({"annotation"})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
        return frozenset({"func", "args"})
    if isinstance(node, ast.FormattedValue):
        return frozenset({"format_spec"})
    return frozenset()


def _is_error(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in _ERRORS


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                if type(operator) in _COMPARISONS:
                    changed = [*node.ops[:at], _COMPARISONS[type(operator)](), *node.ops[at + 1 :]]
                    yield ast.Compare(node.left, changed, node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
        case ast.AugAssign() if type(node.op) in _ARITHMETIC:
            yield ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
        case ast.Constant(value=bool() as flag):
            yield ast.Constant(not flag)
        case ast.Constant(value=int() as number):
            yield ast.Constant(number + 1)
        case ast.Constant(value=str() as text) if not _SENTENCE.search(text):
            yield ast.Constant(f"XX{text}XX")
        case ast.Constant(value=bytes() as data):
            yield ast.Constant(b"XX" + data + b"XX")
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case ast.If() | ast.While() if _is_plain(node.test):
            yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.IfExp() if _is_plain(node.test):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.comprehension():
            for at, test in enumerate(node.ifs):
                if _is_plain(test):
                    ifs = [*node.ifs[:at], ast.UnaryOp(ast.Not(), test), *node.ifs[at + 1 :]]
                    yield ast.comprehension(node.target, node.iter, ifs, node.is_async)


def _is_plain(test: ast.expr) -> bool:
    """Whether no other change turns this condition round."""
    return not isinstance(test, ast.Compare | ast.BoolOp) and not (
        isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    )
