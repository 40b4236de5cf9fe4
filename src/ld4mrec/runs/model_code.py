"""What a model's code means: a digest of each definition that the model's class reaches.

A definition is a function, class or assigned name at the top of a module. Digested is its syntax
tree, without comments, docstrings, layout and annotations. In it our own definitions go by their
names, so it does not count in which file they lie or how they are imported. What other packages
define counts by its dotted name; the host's code counts by `run_folder.RESULTS_VERSION`.
"""

import hashlib
from collections import defaultdict
from typing import NamedTuple

from ld4mrec.places import PACKAGE, SOURCE
from ld4mrec.runs.syntax import Import, Module, Writer, module_of

# Stand for the statements at the top of a module, and for all names of a module.
TOP, WHOLE = "(top level)", "(whole module)"
# Code with one of these may reach any name of its module.
LOOKS_AROUND = (
    *("builtin globals", "builtin eval", "builtin exec", "sys.modules"),
    *(".__subclasses__", "'__init_subclass__'"),
)


def code_fingerprint(source) -> dict[str, str]:
    """{definition: digest} of a `plugins.ModelSource`'s code, sorted by name.

    Names of a third party's definitions begin with plugin/; definitions of one name have one
    digest. Beside what the class reaches, all names of a module count that is used otherwise than
    as `module.name`, and what the modules do when they are imported.
    """
    asked = source.name, source.file, source.in_tree
    files, digests = _read.get(asked, ((), {}))
    if not files or any(not one.path.is_file() or module_of(one.path) is not one for one in files):
        reader = _Reader(source)
        reader.meaning(reader.module(source.file.resolve()), source.name)
        digests = reader.digests()
        _read[asked] = reader.reached, digests
    return dict(digests)


_read = {}  # {source: (the files it was read from, the answer)}, as a table asks for every row


class _Key(NamedTuple):
    """A definition: a module and a name in it, or TOP or WHOLE."""

    module: Module
    name: str


class _Reader:
    """Finds what a model's class reaches. found: {_Key: its pieces, texts and _Keys}."""

    def __init__(self, source):
        self.theirs = not source.in_tree
        self.models = source.file.resolve().parent
        self.ours = SOURCE if self.theirs else self.models.parent
        self.package = PACKAGE if self.ours == SOURCE else self.ours / "ld4mrec"
        # where a plugin's other modules are looked for, as in ld4mrec.plugins.import_roots
        self.root = self.models.parent if self.models.name == "models" else self.models
        self.reached, self.found, self.waiting, self.open = set(), {}, [], set()
        self.located = {}

    # digests

    def digests(self):
        while self.waiting:
            key = self.waiting.pop()
            self.found[key] = self._pieces(key)
        digests = self._digests()
        of_name = defaultdict(set)
        for key, digest in digests.items():
            of_name[self._name(key)].add(digest)
        return {
            name: _digest(sorted(found)) if len(found) > 1 else found.pop()
            for name, found in sorted(of_name.items())
        }

    def _digests(self):
        """{_Key: digest}. A reference is a name. Where definitions of one name differ it is the
        name with the digest, which may tell further ones apart.
        """
        labels = {key: self._name(key) for key in self.found}
        while True:
            digests = {
                key: _digest(p if isinstance(p, str) else f"<{labels[p]}>" for p in pieces)
                for key, pieces in self.found.items()
            }
            of_name = defaultdict(set)
            for key, digest in digests.items():
                of_name[self._name(key)].add(digest)
            different = len(set(labels.values()))
            for key in labels:
                name = self._name(key)
                labels[key] = f"{name}#{digests[key]}" if len(of_name[name]) > 1 else name
            if len(set(labels.values())) == different:
                return digests

    def _name(self, key):
        return f"plugin/{key.name}" if self._is_theirs(key.module) else key.name

    def _is_theirs(self, module):
        ours = self.ours / "models", self.ours / "common"
        return self.theirs and module.path.parent not in ours

    def _pieces(self, key):
        module, name = key
        writer = Writer(lambda *what: self.meaning(module, *what))
        if name == WHOLE:
            for one in sorted(module.names):
                writer.pieces += [one, "=", *self.meaning(module, one, (), False)]
        elif name == TOP:
            writer.write(self._acting(module))
        else:
            writer.write([one for one in module.names[name] if not isinstance(one, Import)])
        if any(isinstance(p, str) and p.startswith(LOOKS_AROUND) for p in writer.pieces):
            self.want(_Key(module, WHOLE))
        return writer.pieces

    def _acting(self, module):
        """Statements of a module that count by themselves; of ours, those that surely act."""
        also = module.may_act if self._is_theirs(module) else []
        return sorted(module.acts + also, key=lambda one: one.lineno)

    # what is reached

    def want(self, key):
        """Have a definition read."""
        if key not in self.found:
            self.found[key] = None
            self.waiting.append(key)

    def module(self, path):
        """The parsed file; what it imports is reached."""
        module = module_of(path)
        if module not in self.reached:
            self.reached.add(module)
            for one in module.imports:
                reach = self.meaning if one.name == "*" else self._follow
                reach(module, one, ())
            if self._acting(module):
                self.want(_Key(module, TOP))
        return module

    def meaning(self, module, what, attributes=(), used=True):
        """Pieces for a name of a module, or for an Import in it, with attributes; [] where the
        module does not bind the name. used: a module itself may be asked for any name.
        """
        follow = self._follow if isinstance(what, Import) else self._lookup
        pieces = []
        for found, left in follow(module, what, attributes):
            if isinstance(found, Module) and not used:
                continue
            if isinstance(found, Module):
                found = _Key(found, WHOLE)
            if isinstance(found, _Key):
                self.want(found)
            pieces += [found, *(f".{name}" for name in left), ";"]
        return pieces

    def _lookup(self, module, name, attributes):
        """[(what, attributes left)]: a _Key, a Module, or the dotted name of what is not ours."""
        if (module, name) in self.open:
            return []
        self.open.add((module, name))
        bound, found = module.names.get(name, []), []
        if any(not isinstance(one, Import) for one in bound):
            found.append((_Key(module, name), attributes))
        for one in bound:
            if isinstance(one, Import):
                found += self._follow(module, one, attributes)
        for star in () if bound else module.names.get("*", ()):
            if path := self._file(module, star.level, star.module):
                found += self._lookup(self.module(path), name, attributes)
        self.open.remove((module, name))
        return found

    def _follow(self, module, one, attributes):
        """The same of an Import."""
        for n in range(1, len(one.module)):  # the packages around it
            if path := self._file(module, one.level, one.module[:n]):
                self.module(path)
        path = self._file(module, one.level, one.module)
        if one.name == "*" and path:
            return [(_Key(self.module(path), WHOLE), ())]
        names = (one.name,) if one.name else ()
        return self._walk(module, one.level, one.module, names + attributes)

    def _walk(self, importer, level, parts, names):
        """The same of a module and names in it, the first ones perhaps modules."""
        deeper = parts + names[:1]
        is_deeper = names and self._locate(importer.path, level, deeper)
        if path := self._file(importer, level, parts):
            module = self.module(path)
            found = self._lookup(module, names[0], names[1:]) if names else ()
            if found or not is_deeper:
                return found or [(module, names)]
        if is_deeper:
            return self._walk(importer, level, deeper, names[1:])
        place = self._locate(importer.path, level, parts)
        if place and self._is_host(place):
            return [(".".join(("host", *(names or parts[-1:]))), ())]
        return [("." * level + ".".join(parts + names), ())]

    # files

    def _file(self, importer, level, parts):
        """The file of a module that is followed, or None."""
        path = self._locate(importer.path, level, parts)
        return path if path and path.is_file() and not self._is_host(path) else None

    def _is_host(self, path):
        """Whether it is not followed; what the host defines has one name wherever it lies."""
        if any(path.is_relative_to(self.ours / name) for name in ("models", "common")):
            return False  # installed, they lie in the package
        return any(map(path.is_relative_to, (self.package, self.ours / "utils")))

    def _locate(self, importer, level, parts):
        """The file or folder of a module; None if it is neither ours nor the plugin's."""
        asked = (importer.parents[level - 1] if level else None, parts or ("__init__",))
        if asked not in self.located:
            self.located[asked] = next(filter(None, map(_at, self._places(*asked))), None)
        return self.located[asked]

    def _places(self, folder, parts):
        if folder:
            ours = [self.ours.joinpath("models", *parts)] if folder == self.models else []
            return [folder.joinpath(*parts), *ours]
        if parts[0] == "ld4mrec":
            return [self.package.joinpath(*parts[1:])]
        if parts[:2] == ("models", "common"):
            return [base.joinpath(*parts[1:]) for base in (self.ours, self.models, self.root)]
        if parts[0] == "models":
            return [self.models.joinpath(*parts[1:]), self.ours.joinpath(*parts)]
        return [self.ours.joinpath(*parts), self.root.joinpath(*parts)]


def _at(place):
    """The file of the package or module at a place, or the folder itself."""
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py"), place):
        if path.exists():
            return path.resolve()
    return None


def _digest(texts):
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
