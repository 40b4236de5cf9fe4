"""Axes of a grid or a search that decide nothing, found and named: values listed twice, points that
are one run, hyper-parameters that nothing reads or whose values give equal numbers.
"""

import hashlib
import json
from collections import defaultdict


def varied(runs):
    """Names of the hyper-parameters in which the runs differ."""
    names = runs[0].config.point
    return [name for name in names if len({str(one.config.point[name]) for one in runs}) > 1]


def written(one, names):
    """'soft_prob=0.01 soft_gamma=0.1': a run's values of these hyper-parameters."""
    return " ".join(f"{name}={one.config.point[name]}" for name in names)


def repeated_values(lists):
    """Sentences on values that a list has more than once. lists: {name: values}."""
    found = []
    for name, values in lists.items():
        twice = [v for place, v in enumerate(values) if values.index(v) < place]
        if twice:
            shown = ", ".join(map(str, dict.fromkeys(map(str, twice))))
            found.append(f"{name} lists {shown} more than once; it is tried once")
    return found


def same_runs(runs):
    """Sentences on points that are one run: they differ in keys only that decide no number."""
    places = defaultdict(list)
    for one in runs:
        places[one.folder.id].append(one)
    found = []
    for id_, some in places.items():
        if len(some) > 1:
            names = varied(some)
            values = " and ".join(written(one, names) for one in some)
            found.append(f"{values or f'{len(some)} equal points'} are one run, {id_}")
    return found


def unread(one, names):
    """Sentences on those of the hyper-parameters that a run just trained did not read.

    Such a key may still be read where another key has another value.
    """
    return [
        f"nothing in {one.config['model']} read {name} in {one.folder.id}: its values may all give "
        "equal numbers"
        for name in one.unread or []
        if name in names
    ]


def idle(runs):
    """Sentences on hyper-parameters whose values gave equal numbers in every epoch."""
    done = list({one.folder.id: one for one in runs if one.result}.values())
    if len(done) < 2:
        return []
    names, found = varied(done), []
    for name in names:
        others = [other for other in names if other != name]
        groups = defaultdict(list)
        for one in done:
            groups[tuple(str(one.config.point[other]) for other in others)].append(one)
        pairs = {key: some for key, some in groups.items() if len(some) > 1}
        same = [key for key, some in pairs.items() if len({_numbers(one) for one in some}) == 1]
        if not same or name == "seed":  # a model without chance in it is no news
            continue
        if len(same) == len(pairs):
            found.append(
                f"{name} changes nothing: runs that differ in it alone have equal numbers "
                f"({len(pairs)} comparison{'s' * (len(pairs) > 1)})"
            )
        else:
            found.append(f"{name} changes nothing {_where(others, same, pairs)}")
    return found


def _where(others, same, pairs):
    """In which of the comparisons, by one other hyper-parameter's value if that tells them."""
    for place, other in enumerate(others):
        values = {key[place] for key in same}
        if all(key in same for key in pairs if key[place] in values):
            return f"where {other} is {' or '.join(sorted(values))}: equal numbers"
    return f"in {len(same)} of {len(pairs)} comparisons: equal numbers"


def _numbers(one):
    """Digest of a finished run's losses and validation metrics in all epochs, and of its test's."""
    path = one.folder.path / "metrics.jsonl"
    curve = path.read_bytes() if path.is_file() else b""
    text = json.dumps([one.result["valid"], one.result["test"]]).encode()
    return hashlib.sha256(curve + text).hexdigest()
