"""The small changes: made on the syntax tree, one at a time.

Texts are left alone, and so is what is inside an f-string: most of them are messages.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}

_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}

_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}

#: Members of our enumerations, and what each is taken for.
_MEMBERS = {
    "Failure": ("FINAL", "TRANSIENT"),
    "Verdict": ("CONTENT", "TRANSPORT"),
    "Support": ("HONOURED", "REFUSED"),
    "SourceGuard": ("CHECK", "REQUIRE"),
}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        line: where it is.
        function: the outermost function it is in, empty if it is in none.
        name: how the list of survivors calls it; the same as long as the code there is.
        code: the whole module with the change.
    """

    line: int
    function: str
    name: str
    code: CodeType


@dataclasses.dataclass
class _Place:
    """A node, the way to it from the root, and the function it is in."""

    node: ast.AST
    way: tuple[tuple[str, int | None], ...]
    function: str
    inside: str  # where to look for it in the list


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for field, value in ast.iter_fields(node):
        # Annotations are not evaluated, and decorators are not decisions.
        if field in ("annotation", "returns", "decorator_list", "bases", "keywords") and (
            not isinstance(node, ast.Call)
        ):
            continue
        if isinstance(value, ast.AST):
            yield field, None, value
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield field, index, each


def _places(node: ast.AST, place: _Place) -> Iterator[_Place]:
    if isinstance(node, ast.JoinedStr) or _only_for_types(node):
        return
    yield place
    for field, index, child in _children(node):
        function, inside = place.function, place.inside
        if isinstance(node, ast.FunctionDef) and field == "body":
            function = function or inside
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not function:
            inside = f"{inside}.{child.name}".strip(".")
        step = _Place(child, (*place.way, (field, index)), function, inside)
        yield from _places(child, step)


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _without(items: list[ast.expr], least: int) -> Iterator[list[ast.expr]]:
    if len(items) >= least:
        for index in range(len(items)):
            yield items[:index] + items[index + 1 :]


def _variants(node: ast.AST, in_function: bool) -> Iterator[ast.AST]:  # noqa: C901
    """What the node is replaced by: one tree for each mutant."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for values in _without(node.values, 2):
            yield values[0] if len(values) == 1 else ast.BoolOp(node.op, values)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield ast.Name(_NAMES[node.id], ast.Load())
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        first, second = _MEMBERS.get(node.value.id, ("", ""))
        if first:
            yield ast.Attribute(node.value, second if node.attr == first else first, ast.Load())
    elif isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg:
                rest = node.keywords[:index] + node.keywords[index + 1 :]
                yield ast.Call(node.func, node.args, rest)
    elif isinstance(node, ast.comprehension):
        for ifs in _without(node.ifs, 1):
            yield ast.comprehension(node.target, node.iter, ifs, node.is_async)
    elif isinstance(node, ast.ExceptHandler):
        yield ast.ExceptHandler(node.type, node.name, [ast.Raise()])
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        if not isinstance(node.test, ast.Compare | ast.UnaryOp):
            changed = copy.copy(node)
            changed.test = ast.UnaryOp(ast.Not(), node.test)
            yield changed
    elif isinstance(node, ast.Return):
        if node.value is not None and ast.unparse(node.value) != "None":
            yield ast.Return(ast.Constant(None))
    elif not in_function:
        yield from _tables(node)
    elif isinstance(node, ast.Raise | ast.Assign | ast.AugAssign | ast.Continue | ast.Break) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ):
        yield ast.Pass()


def _tables(node: ast.AST) -> Iterator[ast.AST]:
    """Tables outside of functions lose an entry."""
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
        for elements in _without(node.elts, 2):
            yield ast.Tuple(elements, ast.Load())
    elif isinstance(node, ast.Dict):
        for index in range(len(node.keys) if len(node.keys) > 1 else 0):
            keys = node.keys[:index] + node.keys[index + 1 :]
            yield ast.Dict(keys, node.values[:index] + node.values[index + 1 :])


def _replaced(tree: ast.Module, way: tuple[tuple[str, int | None], ...], new: ast.AST) -> ast.AST:
    """The tree with another node at the end of the way; everything else is shared."""

    def build(node: ast.AST, left: tuple[tuple[str, int | None], ...]) -> ast.AST:
        if not left:
            return ast.copy_location(new, node)
        (field, index), *rest = left
        changed = copy.copy(node)
        value = getattr(node, field)
        if index is None:
            setattr(changed, field, build(value, tuple(rest)))
        else:
            items = list(value)
            items[index] = build(items[index], tuple(rest))
            setattr(changed, field, items)
        return changed

    return ast.fix_missing_locations(build(tree, way))


def _text(node: ast.AST) -> str:
    """The node in one line; of a statement that holds others its head."""
    if isinstance(node, ast.ExceptHandler | ast.If | ast.While):
        return ast.unparse(node).strip().split(":\n")[0] + (
            ": raise" if ast.unparse(node).strip().endswith(":\n    raise") else ":"
        )
    return " ".join(ast.unparse(node).split())


def _gone(node: ast.AST, variant: ast.AST) -> str:
    """The entry that a table has lost."""
    if isinstance(node, ast.Tuple) and isinstance(variant, ast.Tuple):
        return next(_text(each) for each in node.elts if each not in variant.elts)
    if isinstance(node, ast.Dict) and isinstance(variant, ast.Dict):
        left = next(i for i, each in enumerate(node.values) if each not in variant.values)
        return _text(ast.Dict([node.keys[left]], [node.values[left]]))
    return ""


def mutants_of(source: str, path: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of the text."""
    tree = ast.parse(source)
    seen: Counter[str] = Counter()
    root = _Place(tree, (), "", "")
    for place in _places(tree, root):
        for variant in _variants(place.node, bool(place.function)):
            old, new = _shortened(_context(tree, place), _text(place.node)), _text(variant)
            if gone := _gone(place.node, variant):
                old, new = gone, "left out"
            name = f"{place.function or place.inside or '-'}: {old} => {new}"
            seen[name] += 1
            if seen[name] > 1:
                name += f" #{seen[name]}"
            changed = _replaced(tree, place.way, variant)
            try:
                assert isinstance(changed, ast.Module)
                code = compile(changed, path, "exec")
            except SyntaxError:
                continue
            near = place.node.iter if isinstance(place.node, ast.comprehension) else place.node
            line = getattr(near, "lineno", 0)
            yield Mutant(line, place.function, name, code)


def _context(tree: ast.AST, place: _Place) -> str:
    """What stands around a node that says too little by itself: the expression it is part of."""
    if not isinstance(place.node, ast.Name | ast.Constant | ast.Attribute):
        return ""
    node, nodes = tree, []
    for field, index in place.way:
        nodes.append(node)
        value = getattr(node, field)
        node = value if index is None else value[index]
    for above in reversed(nodes):
        if isinstance(above, ast.expr | ast.keyword):
            return _text(above)
        if isinstance(above, ast.stmt):
            break
    return ""


def _shortened(context: str, text: str) -> str:
    return f"{text} in {context[:60]}" if context else text
