"""Python files as syntax trees: what a module binds, what it does on import, and a written form of
its statements that says what they do and nothing else.
"""

import ast
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
READ_ANNOTATIONS = ("register", "script")  # decorators that read a function's annotations
GLOBAL = ()  # in a function's scope: the name is the module's


class Import(NamedTuple):
    """`from module import name`, or `import module` with name None; level: its leading dots."""

    level: int
    module: tuple
    name: str | None = None


class Module:
    """A parsed file. names: {name: the statements and Imports that bind it}, '*': star imports.
    imports: all at its top level. acts: statements there that do something when it is imported;
    may_act: those that may, by a call or a decorator.
    """

    def __init__(self, path: Path):
        tree = ast.parse(path.read_bytes(), filename=str(path))
        self.path = path
        self.names = _bindings(tree.body)
        self.imports = [one for s in _flat(tree.body) for one in _imported(s)]
        self.acts = [s for s in tree.body if _acts(s)]
        self.may_act = [s for s in tree.body if _acts(s) is None]


def module_of(path: Path) -> Module:
    """The Module of a file, parsed again only if the file has changed."""
    stat = path.stat()
    return _parsed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _parsed(path, _time, _size):
    return Module(path)


def _acts(statement):
    """Whether a top-level statement does more than to bind names; None: it may."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            may = statement.decorator_list or getattr(statement, "keywords", None)
        case ast.Import() | ast.Pass() | ast.Expr(value=ast.Constant()):
            may = False
        case ast.ImportFrom():
            return any(alias.name == "*" for alias in statement.names)
        case ast.If() if ast.unparse(statement.test) in _NOT_RUN:
            return bool(statement.orelse)
        case ast.Assign() | ast.AugAssign() | ast.AnnAssign():
            for target in getattr(statement, "targets", None) or [statement.target]:
                if any(isinstance(n, ast.Attribute | ast.Subscript) for n in ast.walk(target)):
                    return True
            value = statement.value or ast.Pass()
            may = any(isinstance(node, ast.Call) for node in ast.walk(value))
            may = may and not ast.unparse(value).startswith("logging.getLogger(")
        case _:
            return True
    return None if may else False


_NOT_RUN = ("__name__ == '__main__'", "TYPE_CHECKING", "typing.TYPE_CHECKING")


def _flat(body):
    """The statements of a scope, with those in its blocks."""
    for statement in body:
        yield statement
        if not isinstance(statement, DEFINED):
            handlers, cases = (getattr(statement, name, ()) for name in ("handlers", "cases"))
            for part in (statement, *handlers, *cases):
                for block in ("body", "orelse", "finalbody"):
                    yield from _flat(getattr(part, block, ()))


def _imported(statement):
    if isinstance(statement, ast.Import):
        return [Import(0, tuple(alias.name.split("."))) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        module = tuple(filter(None, (statement.module or "").split(".")))
        return [Import(statement.level, module, alias.name) for alias in statement.names]
    return []


def _bindings(body):
    """{name: the statements and Imports that bind it} of a scope."""
    names = defaultdict(list)
    for statement in _flat(body):
        if isinstance(statement, DEFINED):
            names[statement.name].append(statement)
        for name in dict.fromkeys(_stored(statement)):
            names[name].append(statement)
        for alias, one in zip(getattr(statement, "names", ()), _imported(statement), strict=False):
            if one.name is None and alias.asname is None:
                one = Import(0, one.module[:1])  # `import a.b` binds a
            names[alias.asname or one.name or one.module[0]].append(one)
    return names


def _stored(node):
    """Names that a statement or expression binds, without those of statements in it."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.comprehension):  # its target is its own
            for part in (child.iter, *child.ifs):
                yield from _stored(part)
        elif not isinstance(child, ast.stmt | ast.Lambda):
            yield from _stored(child)


def _function_scope(node):
    """{name: what binds it in a function}."""
    body = [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body
    names, given = _bindings(body), node.args
    for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if arg:
            names[arg.arg].append(arg)
    for statement in _flat(body):
        if isinstance(statement, ast.Global):
            names.update(dict.fromkeys(statement.names, GLOBAL))
        elif isinstance(statement, ast.Nonlocal):
            for name in statement.names:
                names.pop(name, None)
    return names


def _chain(node):
    """(name, attributes) of `name.a.b`, (None, ()) of another expression."""
    attributes = ()
    while isinstance(node, ast.Attribute):
        node, attributes = node.value, (node.attr, *attributes)
    return (node.id, attributes) if isinstance(node, ast.Name) else (None, ())


def _is_foreign(piece):
    """Whether a piece is the name of something in another package."""
    return isinstance(piece, str) and piece[:1] not in ".;"


class Writer:
    """Writes statements of a module into `pieces`, texts and what `meaning` answers.

    meaning(name or Import, attributes, used): the pieces for `name.a.b` of the module, [] where it
    does not bind the name; used: whether what it means is used, not only imported. The form is our
    own, as that of `ast.dump` differs between versions of Python.
    """

    def __init__(self, meaning: Callable[..., list]):
        self.pieces = []
        self._meaning = meaning
        self._scopes = []
        self._annotated = False  # whether something reads the annotations here

    def write(self, value) -> None:
        """A node, a list of nodes or a plain value."""
        if isinstance(value, ast.AST):
            getattr(self, f"_write_{type(value).__name__}", self._fields)(value)
        elif isinstance(value, list):
            self.pieces.append("[")
            for one in value:
                before = len(self.pieces)
                if not self._is_idle(one):
                    self.write(one)
                if len(self.pieces) > before:
                    self.pieces.append(",")
            self.pieces.append("]")
        else:
            self.pieces.append(repr(value))

    def _is_idle(self, node):
        """Docstrings, `pass`, declared types."""
        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                return True
            case ast.AnnAssign(value=None):
                return not self._annotated
        return False

    def _fields(self, node, *names):
        """The node's type and those of its fields that hold something."""
        self.pieces.append(f"{type(node).__name__}(")
        for name in names or node._fields:
            value = getattr(node, name, None)
            if value is not None and value != [] and name not in ("ctx", "type_comment"):
                self.pieces.append(f"{name}=")
                self.write(value)
        self.pieces.append(")")

    def _inside(self, scope, body):
        self._scopes.append(scope)
        self.write(body)
        self._scopes.pop()

    def _reference(self, node):
        name, attributes = _chain(node)
        if name is None:
            self._fields(node)
            return
        pieces, is_local = self._lookup(name, attributes)
        if is_local or not pieces:
            kind = "local" if is_local else "builtin"
            pieces += [f"{kind} {name}", *(f".{one}" for one in attributes)]
        self.pieces += ["(", *pieces, ")"]

    _write_Name = _write_Attribute = _reference

    def _lookup(self, name, attributes):
        """Pieces for what a name means, and whether it may be a function's own."""
        for scope in reversed(self._scopes):
            bound = scope.get(name)
            if bound == GLOBAL:
                break
            if bound:
                imports = [one for one in bound if isinstance(one, Import)]
                pieces = [p for one in imports for p in self._meaning(one, attributes, True)]
                return pieces, len(imports) < len(bound)
        return self._meaning(name, attributes, True), False

    def _import(self, node):
        """Names of other packages, which may be what is tried; ours stand where they are used."""
        found = [p for one in _imported(node) for p in self._meaning(one, (), False)]
        self.pieces += filter(_is_foreign, found)

    _write_Import = _write_ImportFrom = _import

    def _function(self, node):
        before = self._annotated
        names = [ast.unparse(one).split("(")[0].split(".")[-1] for one in node.decorator_list]
        self._annotated = not set(names).isdisjoint(READ_ANNOTATIONS)
        self._fields(node, "name", "decorator_list", "args", *["returns"] * self._annotated)
        self._annotated = False
        self._inside(_function_scope(node), node.body)
        self._annotated = before

    _write_FunctionDef = _write_AsyncFunctionDef = _function

    def _write_Lambda(self, node):
        self._fields(node, "args")
        self._inside(_function_scope(node), node.body)

    def _write_ClassDef(self, node):
        self._fields(node, "name", "bases", "keywords", "decorator_list")
        before = self._annotated
        bases = [
            p for base in node.bases if _chain(base)[0] for p in self._lookup(*_chain(base))[0]
        ]
        foreign = [p for p in bases if _is_foreign(p) and not p.startswith("torch.")]  # NamedTuple
        self._annotated = bool(node.decorator_list or foreign)
        # what the body binds is no name inside its methods; of imports there it is taken for one
        names = _bindings(node.body).items()
        imports = {name: b for name, b in names if all(isinstance(one, Import) for one in b)}
        self._inside(imports, node.body)
        self._annotated = before

    def _comprehension(self, node):
        self.write(node.generators[0].iter)  # evaluated outside
        nodes = [part for one in node.generators for part in ast.walk(one.target)]
        scope = {part.id: [part] for part in nodes if isinstance(part, ast.Name)}
        self._scopes.append(scope)
        self._fields(node)
        self._scopes.pop()

    _write_ListComp = _write_SetComp = _comprehension
    _write_DictComp = _write_GeneratorExp = _comprehension

    def _write_arg(self, node):
        self._fields(node, "arg", *["annotation"] * self._annotated)

    def _write_AnnAssign(self, node):
        plain = ast.Assign(targets=[node.target], value=node.value)
        self._fields(node if self._annotated else plain)

    def _write_Constant(self, node):
        self.pieces.append(f"Constant({node.value!r})")

    def _write_JoinedStr(self, node):
        """Where an f-string's texts part is a matter of the Python version."""
        values = []
        for value in node.values:
            text = getattr(value, "value", None) if isinstance(value, ast.Constant) else None
            if text is not None and values and isinstance(values[-1], str):
                values[-1] += text
            elif text != "":
                values.append(value if text is None else text)
        self.pieces.append("JoinedStr")
        self.write(values)
