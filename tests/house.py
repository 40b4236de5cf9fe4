"""The rooms of the project, what each may import, and the imports read from the code.

A room is a folder of src/ld4mrec. Outside it are `scripts` (src/*.py and preprocessing/*.py),
`mmrec` (the files that only give MMRec's names), `models`, `common` and `benchmarks`.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ld4mrec.commands.plug import NEEDED

# Arrows go to the right only. Rooms of one place do not import each other.
ORDER = (
    ("scripts", "mmrec", "models", "benchmarks"),
    ("entry",),  # __init__ and __main__ of ld4mrec
    ("commands", "api"),
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
PLACE = {room: place for place, rooms in enumerate(ORDER) for room in rooms}
# Rooms that may import less than what stands to their right: rooms, or single files of one.
ONLY = {
    "scripts": ("commands", "preprocessing"),
    "models": ("common", "ground"),
    # the demo measures what can be reached on what it draws
    "preprocessing": (
        *("ground", "data/splits.py", "data/counts.py"),
        *("evaluation/metrics.py", "common/item_regression.py"),
    ),
    "report": ("ground",),
    "common": ("ground", "data/features.py"),
}
# Rooms whose files do not import each other.
APART = ("scripts", "models", "commands")
# Rooms whose files only pass names on: the most lines that a file has.
FACES = {"scripts": 12, "mmrec": 15}
COPIED = {f"src/{name}" for name in NEEDED if name.endswith(".py")}  # into MMRec
# What they find there besides each other and the standard library.
AT_MMREC = ("numpy", "scipy", "torch", "common.abstract_recommender")


class Import(NamedTuple):
    """file and target: paths below the root, target None where the module is not ours."""

    file: str
    line: int
    name: str
    target: str | None

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


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


def lines_of(root: Path) -> dict[str, int]:
    """{path below the root: lines} of the python files of src, preprocessing and benchmarks."""
    folders = ("src", "preprocessing", "benchmarks")
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in paths
    }


def imports_of(root: Path) -> list[Import]:
    """Every import of every file, wherever in the file it stands."""
    return [found for file in lines_of(root) for found in _imports(root, file)]


def _imports(root: Path, file: str) -> Iterator[Import]:
    folders = [root / "src", (root / file).parent]  # of a script, the second one is on the path
    for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"), file)):
        for module, name in _names(node, file):
            full = f"{module}.{name}"
            target = name and _find(folders, full)
            if not target:
                full, target = module, _find(folders, module)
            path = target and target.relative_to(root).as_posix()
            yield Import(file, node.lineno, full, path)


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
    paths = [folder.joinpath(*name.split(".")) for folder in folders]
    files = [file for path in paths for file in (Path(f"{path}.py"), path / "__init__.py")]
    return next(filter(Path.is_file, files), None)


def violations(root: Path) -> list[str]:
    """A line for each import or file that breaks a rule, with file, line, import and rule."""
    imports, lines = imports_of(root), lines_of(root)
    rooms = {room_of(file) for file in lines}
    if homeless := rooms - PLACE.keys():
        return [f"ORDER gives no place to the room {room}" for room in homeless]
    ours = [found for found in imports if found.target]
    broken = [f"{found}: {rule}" for found in ours if (rule := _broken_rule(found))]
    return broken + _faces(lines, ours) + _copied(imports) + _circle(ours)


def _broken_rule(found: Import) -> str | None:
    """The rule that one import of ours breaks."""
    room, other = room_of(found.file), room_of(found.target)
    if other in FACES and room not in FACES:
        return f"{found.target} is a face for others; none of our files imports it"
    if room == other:
        return f"the files of {room} do not import each other" if room in APART else None
    if room in ONLY:
        allowed = {other, found.target.removeprefix("src/").removeprefix("ld4mrec/")}
        return None if allowed & {*ONLY[room]} else f"{room} imports {', '.join(ONLY[room])} only"
    if PLACE[room] >= PLACE[other]:
        return f"arrows go to the right only, and {other} is not right of {room}"
    return None


def _faces(lines, ours):
    """Faces that are too long, and scripts that are not the face of a single file."""
    broken = []
    for file, length in lines.items():
        room = room_of(file)
        if length > FACES.get(room, length):
            broken.append(f"{file} has {length} lines: a face has {FACES[room]} at most")
        n_targets = len({found.target for found in ours if found.file == file})
        if room == "scripts" and n_targets != 1:
            broken.append(f"{file} imports {n_targets} of our files: a script is the face of one")
    return broken


def _copied(imports):
    """Imports of copied files that MMRec does not serve."""
    return [
        f"{found}: {found.file} is copied into MMRec and may import the copied files, the "
        f"standard library, {', '.join(AT_MMREC)} only"
        for found in imports
        if found.file in COPIED
        and found.target not in COPIED
        and found.name not in AT_MMREC
        and found.name.partition(".")[0] not in {*sys.stdlib_module_names, *AT_MMREC}
    ]


def _circle(ours):
    """A circle of files, if there is one. One of rooms has an arrow that does not go right."""
    graph = defaultdict(dict)
    for found in ours:
        if found.file != found.target:
            graph[found.file].setdefault(found.target, found)
    try:
        TopologicalSorter(graph).prepare()
        return []
    except CycleError as error:
        circle = error.args[1][::-1]  # each imports the next
    steps = "; ".join(str(graph[a][b]) for a, b in pairwise(circle))
    return [f"{steps}: a circle of files, {' > '.join(circle)}"]


def onward(imports: list[Import]) -> dict[str, set[str]]:
    """{room: rooms that it imports}, from left to right; rooms that import none are left out."""
    found = {room: set() for room in PLACE}
    for each in imports:
        if each.target:
            found[room_of(each.file)].add(room_of(each.target))
    return {room: others - {room} for room, others in found.items() if others - {room}}


def reduced(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows, as of `onward`, that no chain of others implies."""
    reached = {}
    for room in reversed(PLACE):
        others = arrows.get(room, set())
        reached[room] = others.union(*(reached.get(other, ()) for other in others))
    return {
        room: others - set().union(*(reached[other] for other in others))
        for room, others in arrows.items()
    }
