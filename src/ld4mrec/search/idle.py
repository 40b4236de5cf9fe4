"""Hyper-parameters of a grid or a search that decide nothing: values listed twice, points that are
one run, keys that nothing reads or whose values give equal numbers.
"""

import hashlib
import json
from collections import defaultdict

from ld4mrec.errors import counted
from ld4mrec.runs.run import Run


def varied(runs: list[Run]) -> list[str]:
    """Names of the hyper-parameters in which the runs differ."""
    names = runs[0].config.point
    return [name for name in names if len({str(run.config.point[name]) for run in runs}) > 1]


def written(run: Run, names: list[str]) -> str:
    """'soft_prob=0.01 soft_gamma=0.1': a run's values of these hyper-parameters."""
    return " ".join(f"{name}={run.config.point[name]}" for name in names)


def repeated_values(lists: dict[str, list]) -> list[str]:
    """Sentences on values that a list has more than once. lists: {name: values}."""
    sentences = []
    for name, values in lists.items():
        twice = [v for place, v in enumerate(values) if values.index(v) < place]
        if twice:
            shown = ", ".join(map(str, dict.fromkeys(map(str, twice))))
            sentences.append(f"{name} lists {shown} more than once; it is tried once")
    return sentences


def same_runs(runs: list[Run]) -> list[str]:
    """Sentences on points that are one run: they differ in keys only that decide no number."""
    places = defaultdict(list)
    for run in runs:
        places[run.id].append(run)
    sentences = []
    for id_, some in places.items():
        if len(some) > 1:
            names = varied(some)
            values = " and ".join(written(run, names) for run in some)
            sentences.append(f"{values or f'{len(some)} equal points'} are one run, {id_}")
    return sentences


def unread(run: Run, names: list[str]) -> list[str]:
    """Sentences on those of the hyper-parameters that a run just trained did not read.

    Such a key may still be read where another key has another value.
    """
    return [
        f"nothing in {run.config['model']} read {name} in {run.id}: its values may all give equal "
        "numbers"
        for name in run.unread or ()
        if name in names
    ]


def idle(runs: list[Run]) -> list[str]:
    """Sentences on hyper-parameters whose values gave equal numbers in every epoch."""
    done = list({run.id: run for run in runs if run.result}.values())
    if len(done) < 2:
        return []
    names, sentences = varied(done), []
    for name in names:
        others = [other for other in names if other != name]
        groups = defaultdict(list)
        for run in done:
            groups[tuple(str(run.config.point[other]) for other in others)].append(run)
        pairs = {key: some for key, some in groups.items() if len(some) > 1}
        same = [key for key, some in pairs.items() if len({_numbers(run) for run in some}) == 1]
        if not same or name == "seed":  # a model without chance in it is no news
            continue
        if len(same) == len(pairs):
            sentences.append(
                f"{name} changes nothing: runs that differ in it alone have equal numbers "
                f"({len(pairs)} comparison{'s' * (len(pairs) > 1)})"
            )
        else:
            sentences.append(f"{name} changes nothing {_where(others, same, pairs)}")
    return sentences


def _where(others, same, pairs):
    """In which of the comparisons, by one other hyper-parameter's value if that tells them."""
    for place, other in enumerate(others):
        values = {key[place] for key in same}
        if all(key in same for key in pairs if key[place] in values):
            return f"where {other} is {' or '.join(sorted(values))}: equal numbers"
    return f"in {len(same)} of {counted(len(pairs), 'comparison')}: equal numbers"


def _numbers(run):
    """Digest of a finished run's losses and validation metrics in all epochs, and of its test's."""
    path = run.folder.path / "metrics.jsonl"
    curve = path.read_bytes() if path.is_file() else b""
    text = json.dumps([run.result["valid"], run.result["test"]]).encode()
    return hashlib.sha256(curve + text).hexdigest()
