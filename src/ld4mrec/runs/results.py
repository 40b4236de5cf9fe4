"""What a finished run's files must hold, whatever wrote them."""

import numpy as np

from ld4mrec.errors import DamagedError, counted

NUMBERS = {"valid", "test", "seconds", "peak_memory"}
SHAPE = {"id": str, "model": str, "dataset": str, "seed": int, "parameters": int}
SHAPE |= {"best_epoch": int, "epochs": int} | dict.fromkeys(sorted(NUMBERS), dict)


def unlike_a_result(result: dict, identity: dict) -> str | None:
    """Why a value is no result of the run with this identity."""
    for key, kind in SHAPE.items():
        if type(result.get(key)) is not kind:
            return f"{key} is {result.get(key, 'absent')!r:.60}"
    for key in sorted(NUMBERS):
        if not all(type(value) in (int, float) for value in result[key].values()):
            return f"{key} holds something else than numbers"
    if "files" in result and not isinstance(result["files"], dict):
        return "files is no list of checksums"
    metric = identity["config"].get("valid_metric", "").lower()
    for split in ("valid", "test"):
        if metric not in result[split]:
            return f"{split} has no {metric}"
    if result["valid"].keys() != result["test"].keys():
        return "valid and test have different metrics"
    return None


def per_user(folder, result: dict) -> dict[str, np.ndarray]:
    """Arrays of per_user.npz in a finished run's RunFolder: `users` (n,), and (n,) of each metric.
    DamagedError where they are others.
    """
    arrays = folder.read_arrays("per_user.npz")
    _refuse(folder.path / "per_user.npz", _unlike_per_user(arrays, result))
    return arrays


def top_lists(folder) -> tuple[np.ndarray, np.ndarray]:
    """users (n,) and items (n, K), -1 behind the last candidate, of topk.npz in a finished run's
    RunFolder. DamagedError where they are others.
    """
    arrays = folder.read_arrays("topk.npz")
    _refuse(folder.path / "topk.npz", _unlike_lists(arrays))
    return arrays["users"], arrays["items"]


def _refuse(path, why):
    if why:
        raise DamagedError(
            f"{path} is damaged ({why}); delete {path.parent} to train the run again"
        )


def _unlike_per_user(arrays, result):
    """Why arrays are not a run's metrics by user: `users` (n,) and a metric (n,) each."""
    users = arrays.get("users")
    if users is None or not _are_ids(users, 1) or len(np.unique(users)) < len(users):
        return "it has no list of distinct users"
    for name in result["test"]:
        if name.startswith("recall2"):  # pooled over users
            continue
        values = arrays.get(name)
        if values is None or values.shape != users.shape or values.dtype.kind != "f":
            return f"it has no {name} of each user"
        if not np.isfinite(values).all():
            return f"its {name} are not all finite"
    return None


def _unlike_lists(arrays):
    """Why arrays are not a run's lists: `users` (n,) and `items` (n, K), -1 after the last item."""
    users, items = arrays.get("users"), arrays.get("items")
    if users is None or items is None or not (_are_ids(users, 1) and _are_ids(items, 2)):
        return "it has no users with a list of items each"
    if len(users) != len(items) or not items.size:
        return f"it has {counted(len(users), 'user')} and lists of shape {items.shape}"
    return None


def _are_ids(array, dimensions):
    least = 0 if dimensions == 1 else -1
    fits = array.ndim == dimensions and array.dtype.kind in "iu"
    return fits and (not array.size or int(array.min()) >= least)
