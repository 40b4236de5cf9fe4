"""A private view of a data folder for plugins, whose caches lie beside the data (contract 10)."""

import logging
import os
import shutil
from pathlib import Path

from ld4mrec.files import link_or_copy, place

VIEW_FOLDER = "plugin_data"
# Graphs that MMRec's models left in the data folder; possibly stale, see contract 14.17.
CACHE_SUFFIX = ".pt"
logger = logging.getLogger(__name__)


def private_data_view(data_folder: str | Path, cache_root: str | Path, key: str) -> Path:
    """The folder <cache_root>/plugin_data/<key>/<name of data_folder>/ with links to its files.

    For a plugin, set data_path to its parent and a final slash. `key` must change with everything a
    cache may depend on (data fingerprint, model, hyper-parameters): a plugin's caches live as long
    as the view. Links that are missing, wrong or dead are put right at each call, also by several
    processes at once; where links are not possible, files are copied and copied again when the
    source is newer. What the plugin itself wrote stays. Raises FileNotFoundError without a data
    folder, ValueError for a key that is no plain folder name or a cache folder inside the data
    folder.
    """
    source = Path(data_folder).resolve()
    if not source.is_dir():
        raise FileNotFoundError(f"there is no data folder {source}")
    if key in ("", "..") or Path(key).name != key:
        raise ValueError(f"the key of a data view must be a plain folder name, got {key!r}")
    view = Path(cache_root).resolve() / VIEW_FOLDER / key / source.name
    if view.is_relative_to(source):
        raise ValueError(
            f"the cache folder {cache_root} lies inside the data folder {source}; choose another"
        )
    view.mkdir(parents=True, exist_ok=True)
    _mirror(source, view)
    return view


def in_view(path: object) -> bool:
    """Whether it is a path into some view."""
    named = isinstance(path, str | os.PathLike)
    return named and VIEW_FOLDER in Path(os.path.abspath(path)).parts


def detach(path: object, copy: bool) -> None:
    """Before `path` is written: replace a link of a view by a copy of its file, or remove it.

    Anything else, also what is no path, is left alone.
    """
    if not in_view(path) or not os.path.islink(path):
        return
    if copy:
        place(path, lambda temporary: shutil.copy2(path, temporary))
    else:
        Path(path).unlink(missing_ok=True)


def _mirror(source, view):
    for path in view.iterdir():
        if path.is_symlink() and not path.exists():
            path.unlink(missing_ok=True)  # its source is gone
    for path in source.iterdir():
        if path.suffix == CACHE_SUFFIX:
            logger.info("%s is not shown to the plugin: it may be stale", path)
            continue
        target = view / path.name
        if path.is_dir():  # a link would take what is written there into the data folder
            target.mkdir(exist_ok=True)
            _mirror(path, target)
        elif path.exists() and not _is_current(target, path):
            link_or_copy(path, target)


def _is_current(target, source):
    if target.is_symlink():
        return os.readlink(target) == str(source)
    # a copy, or a file of the plugin's
    return target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns
