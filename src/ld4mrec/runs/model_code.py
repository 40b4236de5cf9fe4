"""What a model's code means: a digest of each definition that the model's class reaches.

A definition is a function, class or assigned name at the top of a module. Digested is its syntax
tree, without comments, docstrings, layout and annotations. In it our own definitions go by their
names, so it does not count in which file they lie or how they are imported. What other packages
define counts by its dotted name; the host's code counts by `runs.identity.RESULTS_VERSION`.

Where it is not clear what the code reaches, more counts than may be needed:
- Scopes are not told apart. A local name that is also one of the module's means both.
- An import inside a function is one of the module's.
- All names of a module count if it is star-imported, used otherwise than as `module.name`, or looks
  around in itself. An `if`, `try` or loop at its top is part of each definition in it.
- The annotations of a class's fields count, as a decorator or a base may read them.
Not seen is what is imported by a computed name.
"""

import ast
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from ld4mrec import files
from ld4mrec.places import PACKAGE, SOURCE
from ld4mrec.plugins.import_roots import SHARED
from ld4mrec.plugins.sources import ModelSource

# Stand for the statements at the top of a module, and for all names of a module.
TOP, WHOLE = "(top level)", "(whole module)"
# Code with one of these may reach any name of its module.
LOOKS_AROUND = (
    *("(globals)", "(eval)", "(exec)", "sys.modules"),
    *("__subclasses__", "__init_subclass__"),
)
NOT_RUN = ("__name__ == '__main__'", "TYPE_CHECKING", "typing.TYPE_CHECKING")
READ_ANNOTATIONS = ("register", "script")  # in the name of a decorator that reads a function's
BASE_CLASS = ("common", "abstract_recommender")
ROUNDS = 5  # definitions of one name that differ so many references away have different digests
DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def code_fingerprint(source: ModelSource) -> dict[str, str]:
    """{definition: digest} of a model's code, sorted by name.

    Names of a third party's definitions begin with plugin/; definitions of one name have one
    digest. What the modules do when they are imported counts as a definition too.
    """
    asked = source.name, source.file, source.in_tree
    modules, digests = _read.get(asked, ((), {}))
    if not modules or any(not m.path.is_file() or _module_of(m.path) is not m for m in modules):
        reader = _Reader(source)
        _read[asked] = modules, digests = reader.modules, reader.read(source)
    return dict(digests)


_read = {}  # {source: (the modules it was read from, the answer)}, as a table asks for every row


class _Import(NamedTuple):
    """`from module import name`, or `import module` with names (); level: its leading dots."""

    level: int
    module: tuple[str, ...]
    names: tuple[str, ...] = ()


class _Module:
    """A parsed file. names: {name: the statements at its top that bind it}. imports: {name: the
    _Imports that bind it, also in functions}.
    """

    def __init__(self, path):
        self.path, self.body = path, []
        self.names, self.imports = defaultdict(list), defaultdict(list)
        for statement in ast.parse(path.read_bytes(), filename=str(path)).body:
            skipped = isinstance(statement, ast.If) and ast.unparse(statement.test) in NOT_RUN
            self.body += statement.orelse if skipped else [statement]
        for statement in self.body:
            for name in dict.fromkeys(_bound(statement)):
                self.names[name].append(statement)
            for node in ast.walk(statement):
                for name, imported in _imports(node):
                    self.imports[name].append(imported)


def _module_of(path):
    """The _Module of a file, parsed again only if the file has changed."""
    return _parsed(path, files.known_sha256(path))


@lru_cache(maxsize=1024)
def _parsed(path, _sha256):
    return _Module(path)


class _Key(NamedTuple):
    """A definition: a module and a name in it, or TOP or WHOLE."""

    module: _Module
    name: str


class _Reader:
    """Finds what a model's class reaches. modules: {_Module: its dotted name, in parts}."""

    def __init__(self, source):
        self.theirs = not source.in_tree
        models = self.models = source.file.resolve().parent
        ours = SOURCE if self.theirs else models.parent
        self.ours, self.utils = (ours / "models", ours / "common"), ours / "utils"
        # where a plugin's modules are looked for, as in ld4mrec.plugins.import_roots
        self.root = models.parent if models.name == "models" else models
        self.folders = {
            ("models",): (models, ours / "models"),
            ("models", "common"): (ours / "common", models / "common"),
            ("common",): (ours / "common", self.root / "common"),
            ("utils",): (ours / "utils", self.root / "utils"),
            ("ld4mrec",): (PACKAGE if ours == SOURCE else ours / "ld4mrec",),
        }
        self.modules, self.waiting, self.open, self.located = {}, [], set(), {}

    def read(self, source) -> dict[str, str]:
        """{definition: digest}"""
        main = self._module(source.file.resolve(), ("models", source.file.stem))
        self.waiting += self._lookup(main, source.name, ())
        if base := self._own(BASE_CLASS):  # a fork's base class may have what ours lacks
            self.waiting += self._lookup(self._module(base, BASE_CLASS), "GeneralRecommender", ())
        pieces = {}  # {_Key: texts and _Keys}
        while self.waiting:
            key = self.waiting.pop()
            if isinstance(key, _Key) and key not in pieces:
                pieces[key] = list(self._pieces(key))
                self.waiting += pieces[key]
        # a reference is a name; where definitions of one name differ, with the digest
        names = {key: "plugin/" * self._is_theirs(key.module) + key.name for key in pieces}
        labels = dict(names)
        for _ in range(ROUNDS):
            digests, of_name = {}, defaultdict(set)
            for key, found in pieces.items():
                texts = (f"<{labels[p]}>" if isinstance(p, _Key) else p for p in found)
                digests[key] = _digest(texts)
                of_name[names[key]].add(digests[key])
            for key, name in names.items():
                labels[key] = f"{name}#{digests[key]}" if len(of_name[name]) > 1 else name
        return {
            name: _digest(sorted(found)) if len(found) > 1 else found.pop()
            for name, found in sorted(of_name.items())
        }

    def _pieces(self, key):
        """Texts and _Keys that say what a definition does, and nothing else."""
        module, name = key
        if name == WHOLE:
            for name in sorted(module.names | module.imports):
                yield from (name, *self._lookup(module, name, ()))
            return
        statements = self._acting(module) if name == TOP else module.names[name]
        for piece in self._text(statements, module):
            yield piece
            if isinstance(piece, str) and any(word in piece for word in LOOKS_AROUND):
                yield _Key(module, WHOLE)

    def _text(self, node, module, annotated=False) -> Iterator[str | _Key]:
        """The same of a node, a list of them or a plain value. annotated: whether something may
        read the annotations there. The form of `ast.dump` differs between versions of Python.
        """
        if isinstance(node, ast.ClassDef):
            annotated = True
        elif isinstance(node, DEFINED):
            decorators = " ".join(map(ast.unparse, node.decorator_list))
            annotated = any(word in decorators for word in READ_ANNOTATIONS)
        match node:
            case list():
                yield "["
                for item in node:
                    if text := list(self._text(item, module, annotated)):
                        yield from (*text, ",")
                yield "]"
            case ast.Pass() | ast.Expr(value=ast.Constant()):  # docstrings
                pass
            case ast.AnnAssign() if not annotated:
                if node.value:
                    yield from self._text(ast.Assign([node.target], node.value), module)
            case ast.Name() | ast.Attribute() if found := _path(node):
                name, attributes = found
                found = self._lookup(module, name, attributes)
                yield from found or (f"({name})", _dotted(attributes))
            case ast.Import() | ast.ImportFrom():  # our own names stand where they are used
                for _, imported in _imports(node):
                    pieces = self._follow(module, imported, ())
                    if imported.names == ("*",) or isinstance(pieces[0], str):
                        yield from pieces
            case ast.JoinedStr():  # where its texts part is a matter of the version
                yield 'f"'
                for part in node.values:
                    if isinstance(part, ast.Constant):
                        yield json.dumps(part.value)[1:-1]
                    else:
                        yield from ('"', *self._text(part, module), '"')
                yield '"'
            case ast.Constant():
                yield f"Constant({node.value!r})"
            case ast.AST():
                yield f"{type(node).__name__}("
                idle = ("ctx", "type_comment", *(() if annotated else ("annotation", "returns")))
                for field in node._fields:
                    value = getattr(node, field, None)
                    if field not in idle and value is not None and value != []:
                        yield from (f"{field}=", *self._text(value, module, annotated))
                yield ")"
            case _:
                yield repr(node)

    # what is reached

    def _module(self, path, parts):
        """The parsed file, `parts` its dotted name; what it imports is reached."""
        module = _module_of(path)
        if module not in self.modules:
            self.modules[module] = parts
            for imported in chain(*module.imports.values()):
                self._follow(module, imported, ())
            if self._acting(module):
                self.waiting.append(_Key(module, TOP))
        return module

    def _acting(self, module):
        """Statements of a module that count by themselves; of ours, those that surely act."""
        return [s for s in module.body if _acts(s, self._is_theirs(module))]

    def _is_theirs(self, module):
        return self.theirs and module.path.parent not in self.ours

    def _lookup(self, module, name, attributes):
        """Pieces for `name.a.b` of a module; [] where it does not bind the name."""
        if (module, name) in self.open:  # a circle of imports
            return []
        self.open.add((module, name))
        pieces = [_Key(module, name), _dotted(attributes)] if name in module.names else []
        for imported in module.imports.get(name, ()):
            pieces += self._follow(module, imported, attributes)
        self.open.remove((module, name))
        return pieces

    def _follow(self, module, imported, attributes):
        """The same of an _Import."""
        parts = imported.module
        if imported.level:
            package = self.modules[module]
            up = imported.level - (module.path.stem == "__init__")
            parts = package[: max(0, len(package) - up)] + parts
        for n in range(1, len(parts)):  # the packages around it
            self._walk(parts[:n], ())
        return self._walk(parts, imported.names + attributes)

    def _walk(self, parts, names):
        """The same of names in a module, the first ones perhaps modules; parts: its dotted name."""
        if (
            self.theirs and parts[0] == "src" and set(parts[1:2]) & {*SHARED}
        ):  # a fork's name of them
            parts = parts[1:]
        path, deeper = self._locate(parts), parts + names[:1]
        is_deeper = names and self._locate(deeper)
        is_host = path and (parts[0] == "ld4mrec" or path.is_relative_to(self.utils))
        lent = self._lent(parts, names, path)
        if lent and names != ("*",):
            return lent
        if path and path.is_file() and not is_host:
            module = self._module(path, parts)
            found = self._lookup(module, names[0], names[1:]) if names else ()
            if found or not is_deeper:
                return (found or [_Key(module, WHOLE), _dotted(names)]) + lent
        if is_deeper:
            return self._walk(deeper, names[1:])
        return [_dotted(("host", *(names or parts[-1:])) if is_host else parts + names), *lent]

    def _lent(self, parts, names, path):
        """Pieces for names that our module `path` lacks and the checkout's of that name has."""
        own = self._own(parts) if names else None
        if own is None or path is None or not path.is_file():
            return []
        if names == ("*",):
            return [_Key(self._module(own, parts), WHOLE)]
        face = _module_of(path)
        known = names[0] in face.names or names[0] in face.imports
        return [] if known else self._lookup(self._module(own, parts), names[0], names[1:])

    def _own(self, parts):
        """A plugin's file of a module that we have too, None where it has none."""
        if not self.theirs or parts[0] not in SHARED or len(parts) != 2:
            return None
        stem = f"{parts[1]}.py"
        if not (self.folders[parts[:1]][0] / stem).is_file():
            return None
        places = (self.root.joinpath(parts[0], stem), self.models.joinpath(parts[0], stem))
        return next((place.resolve() for place in places if place.is_file()), None)

    def _locate(self, parts):
        """The file or folder of a module; None if it is neither ours nor the plugin's."""
        if parts not in self.located:
            n = 2 if parts[:2] == ("models", "common") else 1
            folders = self.folders.get(parts[:n], [self.root.joinpath(*parts[:n])])
            places = [folder.joinpath(*parts[n:]) for folder in folders if parts]
            paths = [(p / "__init__.py", p.with_name(f"{p.name}.py"), p) for p in places]
            found = [path.resolve() for path in chain(*paths) if path.exists()]
            self.located[parts] = found[0] if found else None
        return self.located[parts]


def _digest(texts):
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def _dotted(names):
    return "".join(f".{name}" for name in names) + ";"


# syntax trees


def _acts(statement, strictly):
    """Whether a statement at the top of a module does more than to bind names; strictly: or may do,
    by a call or a decorator.
    """
    match statement:
        case ast.Import() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return False
        case ast.ImportFrom():
            return statement.names[0].name == "*"
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return strictly and bool(statement.decorator_list or getattr(statement, "keywords", ()))
        case ast.Assign(targets=[to]) | ast.AugAssign(target=to) | ast.AnnAssign(target=to):
            may = strictly and any(isinstance(node, ast.Call) for node in ast.walk(statement))
            return may or not isinstance(to, ast.Name)
    return True


def _bound(node):
    """Names that a statement binds in its scope, but for those of imports, `except` and `match`."""
    if isinstance(node, DEFINED):
        yield node.name
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _imports(node):
    """(name, _Import) for what an import statement binds; of `import a.b`, which binds a, also
    ('', the whole).
    """
    if isinstance(node, ast.ImportFrom):
        module = tuple(filter(None, (node.module or "").split(".")))
        for alias in node.names:
            yield alias.asname or alias.name, _Import(node.level, module, (alias.name,))
    elif isinstance(node, ast.Import):
        for alias in node.names:
            module = tuple(alias.name.split("."))
            yield alias.asname or "", _Import(0, module)
            if not alias.asname:
                yield module[0], _Import(0, module[:1])


def _path(node):
    """(name, attributes) of `name.a.b`, None of another expression."""
    attributes = ()
    while isinstance(node, ast.Attribute):
        node, attributes = node.value, (node.attr, *attributes)
    return (node.id, attributes) if isinstance(node, ast.Name) else None
