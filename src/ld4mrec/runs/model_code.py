"""Which code a model consists of: its file, and what that imports from models, common and, for a
third party's, from its own folder. The host's own code counts by `run_folder.RESULTS_VERSION`."""

import ast
from pathlib import Path

from ld4mrec import files
from ld4mrec.places import SOURCE



def code_fingerprint(source):
    """{file: SHA-256} of a `plugins.ModelSource`'s code, files named relative to src/ or, after
    'plugin/', to the folder of the plugin's models or that one's parent.
    """
    models = source.file.resolve().parent
    theirs = [] if source.in_tree else [models, models.parent]
    found, left = {}, [source.file.resolve()]
    while left:
        file = left.pop()
        name = _name(file, theirs)
        if name in found or file.is_relative_to(SOURCE / "ld4mrec"):
            continue
        found[name] = files.sha256(file)
        for module in _imports(file):
            left += _files(module, models, [SOURCE, *theirs])
    return dict(sorted(found.items()))


def _name(file, theirs):
    if file.is_relative_to(SOURCE):
        return file.relative_to(SOURCE).as_posix()
    base = next(place for place in theirs if file.is_relative_to(place))
    return f"plugin/{file.relative_to(base).as_posix()}"


def _imports(file):
    """Dotted names that a file imports, also in functions; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _files(module, models, places):
    """The files that a dotted name may mean: models.x beside the model, others in each place."""
    parts = [part for part in module.split(".") if part]
    if parts[:2] == ["models", "common"]:
        parts = parts[1:]
    if parts[:1] == ["models"]:
        roots, parts = [models], parts[1:]
    else:
        roots = places
    candidates = [root.joinpath(*parts) for root in roots if parts]
    paths = [
        path
        for base in candidates
        for path in (base.with_name(f"{base.name}.py"), base / "__init__.py")
    ]
    return [path.resolve() for path in paths if path.is_file()]
