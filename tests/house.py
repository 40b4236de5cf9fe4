"""The rooms of the project, what each may import, and the imports read from the code.

A room is a folder of src/ld4mrec. Outside it are `scripts` (src/*.py and preprocessing/*.py),
`mmrec` (the files that only give MMRec's names), `models`, `common` and `benchmarks`.
"""

import ast
import sys
from collections import defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

# Arrows go to the right only. Rooms of one place do not import each other.
ORDER = (
    ("scripts", "mmrec", "models", "benchmarks"),
    ("entry",),  # __init__ and __main__ of ld4mrec
    ("commands",),
    ("paper", "preprocessing"),
    ("comparison",),
    ("report", "serving"),
    ("plugins.check",),
    ("search",),
    ("engines",),
    ("runs",),
    ("plugins",),
    ("training",),
    ("evaluation",),
    ("common",),
    ("data",),
    ("config",),
    ("ground",),  # what lies directly in ld4mrec
)
# Rooms that may import less than what stands to their right: rooms, or single files of one.
ONLY = {
    "scripts": ("commands", "preprocessing"),
    "models": ("common", "ground"),
    # the demo measures what can be reached on what it draws
    "preprocessing": (
        *("ground", "data/splits.py"),
        *("evaluation/metrics.py", "common/item_regression.py"),
    ),
    "report": ("ground",),
    "common": ("ground", "data/features.py"),
}
# Rooms whose files do not import each other.
APART = ("scripts", "models", "commands")
# Rooms whose files only pass names on: the most lines that a file has.
FACES = {"scripts": 12, "mmrec": 15}
# What files copied into MMRec find there besides each other and the standard library.
AT_MMREC = ("numpy", "scipy", "torch", "common.abstract_recommender")


@dataclass(frozen=True)
class Import:
    """file and target: paths below the root, target None where the module is not ours."""

    file: str
    line: int
    name: str
    target: str | None


def place(room: str) -> int:
    """Where a room stands from left to right; ValueError if ORDER lacks it."""
    for at, rooms in enumerate(ORDER):
        if room in rooms:
            return at
    raise ValueError(f"ORDER gives no place to {room}")


def room_of(file: str) -> str:
    """The room of a file, given as its path below the root."""
    match Path(file).parts:
        case ("src", "common", "trainer.py") | ("src", "utils", *_):
            return "mmrec"
        case ("src", "common" | "models" as room, *_) | ("benchmarks" as room, *_):
            return room
        case ("src", "ld4mrec", "__init__.py" | "__main__.py"):
            return "entry"
        case ("src", "ld4mrec", _):
            return "ground"
        case ("src", "ld4mrec", "plugins", "check", *_):
            return "plugins.check"
        case ("src", "ld4mrec", room, *_):
            return room
    return "scripts"


def files_of(root: Path) -> list[str]:
    """The python files of src, preprocessing and benchmarks, as paths below the root."""
    folders = ("src", "preprocessing", "benchmarks")
    paths = (path for folder in folders for path in (root / folder).rglob("*.py"))
    return sorted(path.relative_to(root).as_posix() for path in paths)


def imports_of(root: Path) -> list[Import]:
    """Every import of every file, wherever in the file it stands."""
    return [found for file in files_of(root) for found in _imports(root, file)]


def _imports(root, file):
    folders = [root / "src", (root / file).parent]  # of a script, the second one is on the path
    for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"), file)):
        for name, inner in _names(node, file):
            target = _find(folders, f"{name}.{inner}") if inner else None
            if target:
                name = f"{name}.{inner}"
            target = target or _find(folders, name)
            target = target and target.relative_to(root).as_posix()
            yield Import(file, node.lineno, name, target)


def _names(node, file):
    """(module, name imported from it or None) for each name of an import statement or call."""
    match node:
        case ast.Import(names=names):
            return [(alias.name, None) for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            package = Path(file).parts[1:-level] if level else ()  # below src
            module = ".".join([*package, *([module] if module else [])])
            return [(module, alias.name) for alias in names]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [(name, None)]
    return []


def _find(folders, name):
    """The file of a module; None if it is not ours."""
    for folder in folders:
        path = folder.joinpath(*name.split("."))
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def room_arrows(imports: list[Import]) -> list[tuple[str, str]]:
    """(importing room, imported room), from left to right, each pair once."""
    pairs = {(room_of(i.file), room_of(i.target)) for i in imports if i.target}
    return sorted((a, b) for a, b in pairs if a != b)


def violations(root: Path) -> list[str]:
    """A line for each import or file that breaks a rule, with file, line, import and rule."""
    imports = imports_of(root)
    ours = [found for found in imports if found.target]
    homeless = {file for file in files_of(root) if not any(room_of(file) in r for r in ORDER)}
    broken = [f"{file}: ORDER gives no place to the room {room_of(file)}" for file in homeless]
    for found in ours:
        if not {found.file, found.target} & homeless:
            rule = _broken_rule(found)
            broken += [f"{_shown(found)}: {rule}"] if rule else []
    broken += _faces(root, ours) + _copied(root, imports)
    broken += _circles(ours, "files", lambda file: file)
    return broken + _circles(ours, "rooms", room_of)


def _shown(found):
    return f"{found.file}:{found.line} imports {found.name}"


def _broken_rule(found):
    """The rule that one import of ours breaks, or None."""
    room, other = room_of(found.file), room_of(found.target)
    if other in FACES and room not in FACES:
        return f"{found.target} is a face for others; none of our files imports it"
    if room == other:
        return f"the files of {room} do not import each other" if room in APART else None
    if room in ONLY:
        allowed = (other, found.target.removeprefix("src/").removeprefix("ld4mrec/"))
        if not set(allowed) & set(ONLY[room]):
            return f"{room} imports {', '.join(ONLY[room])} only"
    elif place(room) >= place(other):
        return f"arrows go to the right only, and {other} is not right of {room}"
    return None


def _faces(root, ours):
    """Faces that are too long, and scripts that are not the face of a single file."""
    broken = []
    targets = defaultdict(set)
    for found in ours:
        targets[found.file].add(found.target)
    for file in files_of(root):
        room = room_of(file)
        if room not in FACES:
            continue
        length = len((root / file).read_text(encoding="utf-8").splitlines())
        if length > FACES[room]:
            broken.append(f"{file} has {length} lines: a face has {FACES[room]} at most")
        if room == "scripts" and len(targets[file]) != 1:
            broken.append(
                f"{file} imports {len(targets[file])} of our files: a script is the face of one"
            )
    return broken


def copied_files(root: Path) -> set[str]:
    """The python files that the command `plug` copies into MMRec."""
    tree = ast.parse((root / "src/ld4mrec/commands/plug.py").read_text(encoding="utf-8"))
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="NEEDED")], value=value):
                names = ast.literal_eval(value)
                return {f"src/{name}" for name in names if name.endswith(".py")}
    raise ValueError("src/ld4mrec/commands/plug.py names no NEEDED")


def _copied(root, imports):
    """Imports of copied files that MMRec does not serve."""
    copied = copied_files(root)
    return [
        f"{_shown(found)}: {found.file} is copied into MMRec and may import the copied files, the "
        f"standard library, {', '.join(AT_MMREC)} only"
        for found in imports
        if found.file in copied
        and found.target not in copied
        and found.name not in AT_MMREC
        and found.name.partition(".")[0] not in {*sys.stdlib_module_names, *AT_MMREC}
    ]


def _circles(imports, kind, group):
    """Circles of files or of rooms; group: the group that a file is in."""
    graph = defaultdict(dict)
    for found in imports:
        start, end = group(found.file), group(found.target)
        if start != end:
            graph[start].setdefault(end, found)
    broken = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
            return broken
        except CycleError as error:
            circle = error.args[1][::-1]  # each imports the next
        steps = [graph[a][b] for a, b in pairwise(circle)]
        broken.append(f"{'; '.join(map(_shown, steps))}: a circle of {kind}, {' > '.join(circle)}")
        del graph[circle[0]][circle[1]]  # opened here, so that the next one is found


def reduced(arrows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The arrows that no chain of others implies."""
    onward = _onward(arrows)
    reached = {}
    for room in reversed([room for rooms in ORDER for room in rooms]):
        reached[room] = onward[room].union(*(reached.get(other, ()) for other in onward[room]))
    return [
        (start, end)
        for start, end in arrows
        if not any(end in reached[other] for other in onward[start])
    ]


def as_lines(arrows: list[tuple[str, str]]) -> list[str]:
    """A line for each room that imports: `training > config, data, evaluation, ground`."""
    onward = _onward(arrows)
    importing = [room for rooms in ORDER for room in rooms if onward[room]]
    return [f"{room} > {', '.join(sorted(onward[room]))}" for room in importing]


def _onward(arrows):
    onward = defaultdict(set)
    for start, end in arrows:
        onward[start].add(end)
    return onward
