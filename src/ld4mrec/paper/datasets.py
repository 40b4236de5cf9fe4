"""Table 1: users, items, interactions, density, length of histories; ours beside the paper's."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ld4mrec.comparison.ledger import Row
from ld4mrec.data.counts import PRINTED_DENSITY, SOURCE, TABLE_1, TITLES, Counts
from ld4mrec.data.features import modality_files
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import UserError
from ld4mrec.paper.colophon import colophon, host_config
from ld4mrec.paper.runs import Setup
from ld4mrec.report.panels import Lines
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table

TITLE = "Data sets (Table 1)"
COUNTS = ("users", "items", "interactions", "density")
FORMATS = {"density": ".4%", "average length": ".2f"}
PLACES = {f"{share} %": share for share in (0, 10, 25, 50, 75, 90, 99)}  # of lengths' percentiles
CORE = 10  # of the paper's filter
Counted = dict[str, Any] | str  # what `counted` gives


def rows(setup: Setup) -> list[Row]:
    """None: nothing is trained."""
    return []


def report(setup: Setup, rows: Iterable[Row] = ()) -> Report:
    """Of the paper's data sets and of those asked for."""
    found = {name: counted(name, setup.keys) for name in names(setup)}
    present = {name: counts for name, counts in found.items() if not isinstance(counts, str)}
    histories = Lines.with_table(
        _lengths(found),
        tuple(PLACES),
        caption="Interactions of a user, all splits: the share of users who have so many or fewer.",
        places=PLACES,
        x_axis="share of the users, %",
        axis="interactions of a user",
        logarithmic=True,
        highlight=(setup.dataset,) if setup.dataset in present else (),
    )
    return Report(
        title=TITLE,
        lead=tuple(_words(present)),
        sections=(
            Section("Counts", (_counts(found), _beside(found))),
            Section("Histories", histories),
        ),
        colophon=colophon(setup, data=setup.dataset in present),
    )


def names(setup: Setup) -> list[str]:
    """The paper's three data sets, and those asked for where they are others."""
    more = [setup.dataset, *setup.also]
    return list(dict.fromkeys([*TITLES, *filter(None, more)]))


def counted(dataset: str, keys: dict[str, Any]) -> Counted:
    """{column: value} of a data set as its folder has it; the reason if it is absent."""
    try:
        config = host_config(dataset, keys).replace({"filter_out_cod_start_users": False})
        data = RecDataset(config)
    except UserError as error:
        return str(error)
    counts = Counts(data.get_user_num(), data.get_item_num(), len(data))
    by_user = np.bincount(data.df[data.uid_field], minlength=counts.users)
    by_item = np.bincount(data.df[data.iid_field], minlength=counts.items)
    labels = np.bincount(data.df[data.splitting_label], minlength=3).tolist()
    features = [name for name, path in modality_files(config).items() if Path(path).is_file()]
    return counts._asdict() | {
        "density": counts.density,
        "average length": counts.average_length,
        "least of a user": int(by_user.min()),
        "least of an item": int(by_item.min()),
        **dict(zip(("train", "validation", "test"), labels, strict=False)),
        "features": ", ".join(features) or "none",
        "lengths": np.percentile(by_user, [*PLACES.values()], method="inverted_cdf").tolist(),
    }


def _cell(counts: Counted, column: str) -> Cell:
    if isinstance(counts, str):
        return Cell(None, note=counts)
    return Cell(counts[column], format=FORMATS.get(column, ",.0f"))


def _counts(found: dict[str, Counted]) -> Table:
    columns = (
        *(*COUNTS, "average length", "least of a user", "least of an item"),
        *("train", "validation", "test", "features"),
    )

    lines = {name: [_cell(counts, column) for column in columns] for name, counts in found.items()}
    notes = ("Of the data folders as they are, all splits; average length: interactions per user.",)
    title = "Data sets, as prepared"
    return Table("datasets", title, columns, lines.items(), notes, "data set")


def _beside(found: dict[str, Counted]) -> Table:
    def cells(dataset: str, counts: Counted) -> Iterator[Cell]:
        for name in COUNTS:
            yield _cell(counts, name)
            if dataset not in TABLE_1:
                yield Cell(None, note="the paper's Table 1 does not have it")
            elif name == "density":
                yield Cell(PRINTED_DENSITY[dataset], format=".3%")
            else:
                yield Cell(getattr(TABLE_1[dataset], name), format=",.0f")

    columns = [f"{name}, {whose}" for name in COUNTS for whose in ("ours", "paper's")]
    notes = (f"The paper's: {SOURCE}; its densities are printed with three decimals of a percent.",)
    title = "Data sets, ours beside the paper's"
    lines = [(dataset, cells(dataset, counts)) for dataset, counts in found.items()]
    return Table("datasets-beside", title, columns, lines, notes, "data set")


def _lengths(found: dict[str, Counted]) -> Table:
    lines = [
        (name, [Cell(None, note=counts)] * len(PLACES))
        if isinstance(counts, str)
        else (name, [Cell(value, format=",.0f") for value in counts["lengths"]])
        for name, counts in found.items()
    ]
    title = "Interactions of a user: percentiles"
    return Table("history-lengths", title, PLACES, lines, row_title="data set")


def _words(present: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, counts in present.items():
        if name in TABLE_1:
            same = all(counts[key] == n for key, n in TABLE_1[name]._asdict().items())
            yield f"{TITLES[name]} has {'exactly' if same else 'not'} the paper's counts."
    short = {TITLES[name]: counts.average_length for name, counts in TABLE_1.items()}
    short = [f"{name} {length:.1f}" for name, length in short.items() if length < CORE]
    yield (
        f"The paper says that it keeps users and items with {CORE} interactions or more; its "
        f"own counts leave fewer for the average user ({', '.join(short)})."
    )
