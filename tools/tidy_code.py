"""The house rules that a syntax tree shows. `tidy.py` runs them; each yields `(line, rule, what was seen)`.

Source   design "The house": floors, habits, names. ADR-0004 says why these are our own and no linter's.
"""

import ast
from collections.abc import Iterator

CORE = frozenset({"base", "contracts", "ledger"})  # floors 0-2: integers and bytes, the same answer everywhere and for ever
OPEN = frozenset({"base", "sim"})  # base's words are everybody's; only cli stands above sim, and imports late so that --help is instant
SUBROOMS = frozenset({"contracts", "engines", "web"})  # rooms made of rooms: one more step leads to their doors

OUTSIDE_MODULES = frozenset(
    {"asyncio", "concurrent", "http", "httpx", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "selectors", "shutil"}
    | {"socket", "sqlite3", "ssl", "starlette", "subprocess", "tempfile", "threading", "urllib", "uvicorn"}
)
CHANCE_MODULES = frozenset({"random", "secrets", "uuid"})
EXACT_MATH = frozenset({"comb", "factorial", "gcd", "isqrt", "lcm", "perm", "prod"})
SET_NAMES = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
ORDER_BLIND = frozenset({"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"})
ORDER_KEEPING = frozenset({"bytes", "dict", "enumerate", "filter", "iter", "join", "list", "map", "tuple", "zip"})
Seen = Iterator[tuple[int, str, str]]


def room_of(path: str) -> str | None:
    """Return the room a path lies in (`contracts` for src/yilian/contracts/consent/rules.py), or None outside the package."""
    parts = path.split("/")
    return parts[2].removesuffix(".py") if parts[:2] == ["src", "yilian"] and len(parts) > 2 else None  # noqa: PLR2004 - src, yilian, room


def called(node: ast.AST) -> str:
    """Return the last name of what a call calls, or the empty string."""
    target = node.func if isinstance(node, ast.Call) else None
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield `(line, dotted module)` of every import; `from a.b import c` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield `(qualified name, function)` for every function, methods and inner ones too."""
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, node = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            waiting.append((f"{prefix}{child.name}." if named else prefix, child))  # type: ignore[attr-defined]  # `named` says it has one


def floats(tree: ast.AST) -> Seen:
    """Floats differ between machines in the last bit: floors 0-2 count in integers."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield line, "float", f"the literal {node.value!r}"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield line, "float", "true division; `//` stays with integers"
        elif called(node) == "float":
            yield line, "float", "a call of float()"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "math" and node.attr not in EXACT_MATH:
                yield line, "float", f"math.{node.attr}"
            elif node.value.id in {"np", "numpy"} and node.attr.startswith(("float", "complex")):
                yield line, "float", f"{node.value.id}.{node.attr}"


def clock(tree: ast.AST) -> Seen:
    """Time is an argument: the block's."""
    for line, module in imports(tree):
        if module == "time":
            yield line, "clock", "import of time; the block's time is an argument"
    for node in ast.walk(tree):
        if called(node) in {"now", "utcnow", "today"} and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value).split(".")[-1]
            if owner in {"datetime", "date", "dt"}:
                yield node.lineno, "clock", f"{owner}.{node.func.attr}()"


def chance(tree: ast.AST) -> Seen:
    """Nothing on floors 0-2 is drawn: two replicas would draw differently."""
    for line, module in imports(tree):
        if module.split(".")[0] in CHANCE_MODULES or module == "nacl.utils":
            yield line, "chance", f"import of {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            if node.func.attr == "urandom" or (node.func.attr == "generate" and owner.endswith("Key")):
                yield node.lineno, "chance", f"{owner}.{node.func.attr}()"


def outside(tree: ast.AST) -> Seen:
    """Floors 0-2 take values and return values: no files, sockets, threads, logs, no waiting."""
    for line, module in imports(tree):
        if module.split(".")[0] in OUTSIDE_MODULES:
            yield line, "outside", f"import of {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input"}:
            yield node.lineno, "outside", f"a call of {node.func.id}()"
        elif isinstance(node, ast.AsyncFunctionDef):
            yield node.lineno, "outside", f"async def {node.name}"


def salted_hash(tree: ast.AST) -> Seen:
    """The built-in hash() of bytes and text differs per process, id() per run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"hash", "id"}:
            yield node.lineno, "hash", f"the built-in {node.func.id}() differs from process to process"


def broad_except(tree: ast.AST) -> Seen:
    """On floors 0-2 anything that is not Refused is our defect and must stop the node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = {ast.unparse(n) for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"everything"}
            if caught & {"everything", "Exception", "BaseException"}:
                yield node.lineno, "except", f"catches {' '.join(sorted(caught))}"


def set_fields(trees: list[ast.Module]) -> frozenset[str]:
    """Return the names of class attributes that are sets in every class that has them, over all files of floors 0-2."""
    is_set: dict[str, bool] = {}
    for tree in trees:
        for owner in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
            for field in owner.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    is_set[field.target.id] = is_set.get(field.target.id, True) and says_set(field.annotation)
    return frozenset(name for name, is_one in is_set.items() if is_one)


def says_set(annotation: ast.expr | None) -> bool:
    """Say whether an annotation is `set[...]`, `frozenset[...]` or an abstract set."""
    head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return head is not None and ast.unparse(head).split(".")[-1] in SET_NAMES


class SetOrder(ast.NodeVisitor):
    """Finds where the order in which a set happens to lie gets into a value."""

    def __init__(self, fields: frozenset[str]) -> None:
        self.fields = fields
        self.known: list[set[str]] = [set()]
        self.seen: list[tuple[int, str, str]] = []

    def is_set(self, node: ast.AST) -> bool:
        """Say whether an expression is a set as far as this file shows."""
        if isinstance(node, ast.Set | ast.SetComp):
            return True
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
            return self.is_set(node.left) or self.is_set(node.right)
        if isinstance(node, ast.Name):
            return any(node.id in names for names in self.known)
        return isinstance(node, ast.Attribute) and node.attr in self.fields

    def report(self, node: ast.expr) -> None:
        """Note that `node`, a set, is walked."""
        self.seen.append((node.lineno, "set order", f"`{ast.unparse(node)}` is walked in no order; sort it"))

    def visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Know the arguments that are sets while inside."""
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self.known.append({a.arg for a in arguments if says_set(a.annotation)})
        self.generic_visit(node)
        self.known.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_function  # noqa: N815 - the names ast.NodeVisitor asks for

    def visit_Assign(self, node: ast.Assign) -> None:
        """Know a name that is given a set."""
        if self.is_set(node.value):
            self.known[-1] |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Know a name that is declared a set."""
        if says_set(node.annotation) and isinstance(node.target, ast.Name):
            self.known[-1].add(node.target.id)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        """A loop over a set."""
        if self.is_set(node.iter):
            self.report(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        """A set spread out into a list, a tuple or arguments (into another set no order remains)."""
        if self.is_set(node.value):
            self.report(node.value)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        """A set display keeps no order of what is spread into it."""
        for element in node.elts:
            self.visit(element.value if isinstance(element, ast.Starred) else element)

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        """A list, dict or stream made by walking a set."""
        for part in node.generators:
            if self.is_set(part.iter):
                self.report(part.iter)
        self.generic_visit(node)

    visit_ListComp = visit_GeneratorExp = visit_DictComp = comprehension  # noqa: N815 - the names ast.NodeVisitor asks for

    def visit_Call(self, node: ast.Call) -> None:
        """A set handed to what keeps its order; a stream handed to what does not see order is fine."""
        name = called(node)
        if name == "pop" and isinstance(node.func, ast.Attribute) and self.is_set(node.func.value):
            self.report(node.func.value)
        for argument in node.args:
            if name in ORDER_KEEPING and self.is_set(argument):
                self.report(argument)
            blind = name in ORDER_BLIND and isinstance(argument, ast.GeneratorExp | ast.ListComp)
            self.generic_visit(argument) if blind else self.visit(argument)
        self.visit(node.func)
        for keyword in node.keywords:
            self.visit(keyword.value)


def set_order(tree: ast.Module, fields: frozenset[str]) -> Seen:
    """The order of a set of bytes or text differs from process to process."""
    finder = SetOrder(fields)
    finder.visit(tree)
    yield from finder.seen


def core_rules(tree: ast.Module, fields: frozenset[str]) -> Seen:
    """Yield everything that floors 0-2 may not do."""
    for rule in (floats, clock, chance, outside, salted_hash, broad_except):
        yield from rule(tree)
    yield from set_order(tree, fields)


def doors(tree: ast.AST, path: str) -> Seen:
    """A room is entered by its `__init__`; only the rooms of OPEN are open throughout."""
    own = path.removeprefix("src/").removesuffix(".py").split("/")
    for line, module in imports(tree):
        parts = module.split(".")
        if parts[0] != "yilian" or len(parts) < 2 or parts[1] in OPEN:  # noqa: PLR2004 - yilian, room
            continue
        door = 3 if parts[1] in SUBROOMS else 2
        if len(parts) > door and parts[:door] != own[:door]:
            yield line, "door", f"{module} is inside another room; import from {'.'.join(parts[:door])}"


def test_rules(tree: ast.Module) -> Seen:
    """A test is a sentence and never waits."""
    for name, function in functions(tree):
        if function.name.startswith("test_") and len(function.name.split("_")) < 5:  # noqa: PLR2004 - `test` and four words
            yield function.lineno, "test name", f"{name} is no sentence; four words at least"
    for node in ast.walk(tree):
        if called(node) == "sleep" and isinstance(node, ast.Call) and not (node.args and ast.unparse(node.args[0]) == "0"):
            yield node.lineno, "test sleeps", "wait for what must happen, not for time to pass"
