"""Table 1: users, items, interactions, density, length of histories; ours beside the paper's."""

from pathlib import Path

import numpy as np

from ld4mrec.data.features import data_folder, modality_files
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import UserError
from ld4mrec.paper import published
from ld4mrec.paper.colophon import colophon, host_config
from ld4mrec.report.panels import Lines
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table

TITLE = "Data sets (Table 1)"
COUNTS = ("users", "items", "interactions", "density")
FORMATS = {"density": ".4%", "average length": ".2f"}
SHARES = (0, 10, 25, 50, 75, 90, 99)  # percentiles of the histories' lengths
CORE = 10  # of the paper's filter


def rows(setup):
    return []


def report(setup, rows=()):
    found = {name: counted(name, setup.keys) for name in names(setup)}
    present = {name: counts for name, counts in found.items() if not isinstance(counts, str)}
    lengths = _lengths(found)
    figure = (
        Lines(
            name="history-lengths",
            caption="Interactions of a user, all splits: the share of users who have so many or "
            "fewer.",
            table=lengths,
            columns=lengths.columns,
            places=SHARES,
            x_axis="share of the users, %",
            axis="interactions of a user",
            logarithmic=True,
            highlight=(setup.dataset,) if setup.dataset in present else (),
        ),
    ) * bool(present)
    return Report(
        title=TITLE,
        lead=tuple(_words(present)),
        sections=(
            Section("Counts", (_counts(found), _beside(found))),
            Section("Histories", (lengths, *figure)),
        ),
        colophon=colophon(setup, data=setup.dataset in present),
    )


def names(setup):
    """The paper's three data sets, and those asked for where they are others."""
    more = [setup.dataset, *setup.also]
    return list(dict.fromkeys([*published.TITLES, *filter(None, more)]))


def counted(dataset, keys):
    """{figure: value} of a data set as its folder has it, every split; the reason if it is absent.

    least and lengths count the interactions of a user.
    """
    try:
        config = host_config(dataset, keys).replace({"filter_out_cod_start_users": False})
        data = RecDataset(config)
    except UserError as error:
        return str(error)
    users, items, n = data.get_user_num(), data.get_item_num(), len(data)
    by_user = np.bincount(data.df[data.uid_field], minlength=users)
    by_item = np.bincount(data.df[data.iid_field], minlength=items)
    labels = np.bincount(data.df[data.splitting_label], minlength=3)
    features = [name for name, path in modality_files(config).items() if Path(path).is_file()]
    return {
        "users": users,
        "items": items,
        "interactions": n,
        "density": n / (users * items),
        "average length": n / users,
        "least of a user": int(by_user.min()),
        "least of an item": int(by_item.min()),
        "train": int(labels[0]),
        "validation": int(labels[1]),
        "test": int(labels[2]),
        "features": ", ".join(features) or "none",
        "lengths": np.percentile(by_user, SHARES, method="inverted_cdf").tolist(),
        "folder": str(data_folder(config)),
    }


def _counts(found):
    columns = (
        *(*COUNTS, "average length", "least of a user", "least of an item"),
        *("train", "validation", "test", "features"),
    )
    rows = [
        (name, tuple(_cell(counts, column) for column in columns)) for name, counts in found.items()
    ]
    notes = ("Of the data folders as they are, all splits; average length: interactions per user.",)
    return Table("datasets", "Data sets, as prepared", columns, tuple(rows), notes, "data set")


def _cell(counts, column):
    if isinstance(counts, str):
        return Cell(None, note=counts)
    value = counts[column]
    return Cell(value, format=FORMATS.get(column, ",.0f"))


def _beside(found):
    columns = [f"{name}, {whose}" for name in COUNTS for whose in ("ours", "paper's")]
    rows = []
    for dataset, counts in found.items():
        theirs = published.dataset_counts(dataset)
        cells = []
        for name in COUNTS:
            form = ".3%" if name == "density" else ",.0f"
            absent = Cell(None, note="the paper's Table 1 does not have it")
            cells += [_cell(counts, name), Cell(theirs[name], format=form) if theirs else absent]
        rows.append((dataset, tuple(cells)))
    source = published.published()["datasets"]["source"]
    notes = (f"The paper's: {source}; its densities are printed with three decimals of a percent.",)
    title = "Data sets, ours beside the paper's"
    return Table("datasets-beside", title, tuple(columns), tuple(rows), notes, "data set")


def _lengths(found):
    columns = tuple(f"{share} %" for share in SHARES)
    rows = []
    for name, counts in found.items():
        if isinstance(counts, str):
            cells = [Cell(None, note=counts)] * len(SHARES)
        else:
            cells = [Cell(value, format=",.0f") for value in counts["lengths"]]
        rows.append((name, tuple(cells)))
    title = "Interactions of a user: percentiles"
    return Table("history-lengths", title, columns, tuple(rows), row_title="data set")


def _words(present):
    for name, counts in present.items():
        theirs = published.dataset_counts(name)
        if theirs:
            same = all(counts[key] == theirs[key] for key in COUNTS[:3])
            yield (
                f"{published.TITLES[name]} has {'exactly' if same else 'not'} the paper's counts."
            )
    short = [
        f"{published.TITLES[name]} {row['interactions'] / row['users']:.1f}"
        for name, row in published.published()["datasets"]["rows"].items()
        if row["interactions"] / row["users"] < CORE
    ]
    if short:
        yield (
            f"The paper says that it keeps users and items with {CORE} interactions or more; its "
            f"own counts leave fewer for the average user ({', '.join(short)})."
        )
