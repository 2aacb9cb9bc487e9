"""Make mutants: copies of a source file that differ in one small, meaningful thing.

A mutant is an edit of the source text, so that it can be shown as two lines and compiled as it stands.
Not touched: docstrings, annotations, decorators, f-strings, the words of our own defects (`raise ValueError("...")`), `__all__`.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
SYMBOLS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.BitAnd: "&", ast.BitOr: "|"}
FACTS_CARRIED = frozenset({"require", "Refused", "replace"})  # calls whose keywords are part of the answer
OTHER_REASON = "BAD_BYTES"


@dataclass(frozen=True)
class Mutant:
    """One edit: bytes `start` to `end` of the file become `text`. Lines are those of the statement it is in.

    `function` is the qualified name of the outermost function around it; empty for what runs when the module is loaded.
    """

    path: str
    start: int
    end: int
    text: str
    first_line: int
    last_line: int
    function: str

    def apply(self, source: bytes) -> bytes:
        """Return the mutated file."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """Return the changed part as (was, becomes), whole lines, joined and without indentation."""
        begin = source.rfind(b"\n", 0, self.start) + 1
        stop = source.find(b"\n", self.end)
        stop = len(source) if stop < 0 else stop
        was = source[begin:stop].decode()
        becomes = (source[begin : self.start] + self.text.encode() + source[self.end : stop]).decode()
        return " ".join(was.split()), " ".join(becomes.split())


class Maker(ast.NodeVisitor):
    """Walks one file and collects its mutants."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.source = source
        self.made: list[Mutant] = []
        self.statement: ast.stmt | None = None
        self.names: list[str] = []  # of the classes and the function around
        self.function = ""

    def at(self, line: int, column: int) -> int:
        """Return the byte offset of a place in the file."""
        return self.starts[line - 1] + column

    def put(self, node: ast.expr | ast.stmt, text: str) -> None:
        """Note the mutant in which `node` reads `text`."""
        statement = self.statement or node
        if isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.FunctionDef | ast.Try):
            statement = node  # of a block only the head
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        start, end = self.at(node.lineno, node.col_offset), self.at(node.end_lineno or node.lineno, node.end_col_offset or 0)
        if self.source[start:end].decode() != text:
            self.made.append(Mutant(self.path, start, end, text, first, last, self.function))

    def swap(self, node: ast.expr, other: ast.expr) -> None:
        """Note the mutant in which the expression `other` stands for `node`."""
        self.put(node, f"({ast.unparse(other)})")

    def visit(self, node: ast.AST) -> None:
        """Visit a node, knowing the statement that it is in."""
        if not isinstance(node, ast.stmt):
            super().visit(node)
            return
        outer, self.statement = self.statement, node
        super().visit(node)
        self.statement = outer

    def visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Visit defaults and body; not decorators, not annotations, not the docstring."""
        for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
            self.visit(default)
        outer = self.function
        self.function = outer or ".".join([*self.names, node.name])
        self.visit_body(node.body)
        self.function = outer

    visit_FunctionDef = visit_AsyncFunctionDef = visit_function  # noqa: N815 - the names ast.NodeVisitor asks for

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Visit the body only."""
        self.names.append(node.name)
        self.visit_body(node.body)
        self.names.pop()

    def visit_Module(self, node: ast.Module) -> None:
        """Visit the body only."""
        self.visit_body(node.body)

    def visit_body(self, body: list[ast.stmt]) -> None:
        """Visit statements except docstrings and lists of exports."""
        for statement in body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]).startswith("__"):
                continue
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Visit the value, not the annotation."""
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave f-strings alone: their parts carry no usable places before Python 3.12."""

    def visit_Raise(self, node: ast.Raise) -> None:
        """Go on instead of raising; look inside only where the words are facts."""
        self.put(node, "pass")
        if node.exc is not None and "Refused" in ast.unparse(node.exc):
            self.visit(node.exc)

    def visit_Expr(self, node: ast.Expr) -> None:
        """Leave out a call made for what it does: `require(...)` above all."""
        if isinstance(node.value, ast.Call):
            self.put(node, "pass")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        """Answer nothing."""
        if node.value is not None and ast.unparse(node.value) != "None":
            self.put(node, "return None")
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        """Go on instead of stopping."""
        self.put(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        """Stop instead of going on."""
        self.put(node, "break")

    def visit_If(self, node: ast.If) -> None:
        """Take the other way."""
        self.put(node.test, f"not ({ast.unparse(node.test)})")
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        """Never begin."""
        self.put(node.test, "False")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """Keep what was left out."""
        for condition in node.ifs:
            self.put(condition, f"(not ({ast.unparse(condition)}))")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """Give the other value."""
        self.swap(node, ast.IfExp(node.test, node.orelse, node.body))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Move the boundary by one, and turn the comparison round."""
        for place, operator in enumerate(node.ops):
            for other in COMPARED[type(operator)]:
                operators = [*node.ops[:place], other(), *node.ops[place + 1 :]]
                self.swap(node, ast.Compare(node.left, operators, node.comparators))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """`and` for `or`, and each part left out."""
        self.swap(node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
        for place in range(len(node.values)):
            rest = node.values[:place] + node.values[place + 1 :]
            self.swap(node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Leave the sign or the `not` out."""
        self.swap(node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Count the other way."""
        other = COUNTED.get(type(node.op))
        if other is not None:
            self.swap(node, ast.BinOp(node.left, other(), node.right))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Count the other way."""
        other = COUNTED.get(type(node.op))
        if other in SYMBOLS:
            self.put(node, f"{ast.unparse(node.target)} {SYMBOLS[other]}= {ast.unparse(node.value)}")
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        """One more, one less, the other truth, another word."""
        value = node.value
        if isinstance(value, bool):
            self.put(node, str(not value))
        elif isinstance(value, int):
            self.put(node, str(value + 1))
            if value > 1:
                self.put(node, str(value - 1))
        elif isinstance(value, str):
            self.put(node, repr(value + "!"))
        elif isinstance(value, bytes):
            self.put(node, repr(value + b"!"))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Refuse for another reason."""
        if isinstance(node.value, ast.Name) and node.value.id == "Reason":
            self.put(node, f"Reason.{OTHER_REASON}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Swap the first two arguments; leave out each keyword of a call whose keywords are its answer."""
        takes_an_order = ast.unparse(node.func) not in {"max", "min"}
        if len(node.args) > 1 and takes_an_order and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
            self.swap(node, ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords))
        if ast.unparse(node.func).split(".")[-1] in FACTS_CARRIED:
            for place in range(len(node.keywords)):
                self.swap(node, ast.Call(node.func, node.args, node.keywords[:place] + node.keywords[place + 1 :]))
        self.generic_visit(node)


def mutants_of(path: str, source: bytes) -> Iterator[Mutant]:
    """Yield the mutants of a file that still compile, each once, in the order of the file."""
    maker = Maker(path, source)
    maker.visit(ast.parse(source))
    seen: set[bytes] = set()
    for mutant in sorted(maker.made, key=lambda m: (m.start, m.end, m.text)):
        changed = mutant.apply(source)
        if changed in seen:
            continue
        seen.add(changed)
        try:
            compile(changed, path, "exec")
        except SyntaxError:
            continue
        yield mutant
