"""The options that the three commands share, and what they may be."""

import argparse
from datetime import UTC, datetime

import numpy as np

from ld4mrec.data import splits
from ld4mrec.data.counts import TABLE_1
from ld4mrec.errors import UserError
from ld4mrec.preprocessing.formats.layout import split_words
from ld4mrec.preprocessing.steps import features
from ld4mrec.preprocessing.steps.data_set import DataSet
from ld4mrec.preprocessing.steps.encoders.base import MODALITIES, NONE

Window = tuple[int | None, int | None]  # from and to, in the data set's unit; None where open


def parser_of(data_set: DataSet, prog: str | None = None) -> argparse.ArgumentParser:
    """The parser of a data set's command."""
    parser = argparse.ArgumentParser(
        prog=prog or f"{data_set.name}.py",
        description=f"Make a data folder from {data_set.source}. "
        "docs/data.md tells where to get it and what every step does.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    if data_set.download:
        add("--raw", required=True, metavar="DIR", help="folder of the downloaded files")
    what = f"folder to make; its last part is the data set's name: data/{data_set.name}"
    add("--out", required=True, metavar="DIR", help=what)
    add("--force", action="store_true", help="replace a folder that preprocessing made")
    add("--dry-run", action="store_true", help="count and estimate; write nothing")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="reuse what an earlier run kept in --store: encoded rows, the filtered log (default)",
    )

    rows = parser.add_argument_group("which interactions")
    add = rows.add_argument
    add(
        "--k-core",
        type=int,
        default=data_set.default_core,
        metavar="K",
        help="drop users and items with fewer than K interactions until nothing changes "
        f"(default {data_set.core_hint}; 1 drops none)",
    )
    add("--users", type=int, metavar="N", help="first draw N users, seeded (default: all)")
    what = "draw as many users as leave N in the core, within 1 %%"
    add("--target-users", type=int, metavar="N", help=what)
    what = "paper: --target-users with the paper's number of users, by our choice of users"
    if data_set.download:
        add("--size", choices=["paper"], help=what)
    add("--from", dest="since", metavar="DATE", help="only from this day on, YYYY-MM-DD")
    add("--to", dest="until", metavar="DATE", help="only before this day, YYYY-MM-DD")
    add("--seed", type=int, default=0, help="of the sample of users and the mmrec split")
    add(
        "--split",
        choices=list(splits.RULES),
        default=data_set.default_split,
        help="mmrec: random per user, seeded (default); temporal: 8:1:1 in time over all users; "
        "leave-one-out: each user's last for test, the one before for validation",
    )
    what = "largest share of lines that may be unusable (default 0.01)"
    add("--max-bad-lines", type=float, default=0.01, metavar="SHARE", help=what)
    data_set.add_arguments(parser.add_argument_group(data_set.title))

    content = parser.add_argument_group("features")
    what = f"where the images are; {data_set.image_hint}"
    content.add_argument("--images", metavar="PATH", help=what)
    what = "modalities, such as text,image: drop items that lack one of them, before the core"
    content.add_argument("--require", metavar="A,B,...", help=what)
    features.add_arguments(content, data_set.text_encoder, data_set.image_encoder)
    return parser


def check_options(data_set: DataSet, options: argparse.Namespace) -> None:
    """UserError for numbers and combinations that cannot be."""
    for name, least in (("k_core", 1), ("users", 1), ("target_users", 1), ("seed", 0)):
        value = getattr(options, name)
        if value is not None and not least <= value < 2**63:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} is {value}; wanted a whole number from {least}")
    if not 0 <= options.max_bad_lines <= 1:
        raise UserError(f"--max-bad-lines is {options.max_bad_lines}; wanted a share from 0 to 1")
    if data_set.download and options.size:
        if options.target_users:
            raise UserError("--size and --target-users both set the number of users; give one")
        if not data_set.subsampled:
            raise UserError(
                f"--size paper is not needed for {data_set.title}: the paper's counts are near the "
                "5-core of the whole download, which is the default"
            )
        options.target_users = TABLE_1[data_set.name].users
    options.window = window(options, data_set.time_unit)
    data_set.check(options)
    features.check(options)
    if data_set.download:
        for modality in split_words(options.require):
            if modality not in MODALITIES:
                raise UserError(
                    f"--require {options.require}: there is no {modality}; wanted some of "
                    f"{', '.join(MODALITIES)}"
                )
            if options.no_features or getattr(options, f"{modality}_encoder") == NONE:
                raise UserError(
                    f"--require {modality}: no {modality} is read; leave out --no-features and "
                    f"--{modality}-encoder none"
                )


def window(options: argparse.Namespace, unit: str) -> Window:
    """The Window that --from and --to name, `to` excluded."""
    bounds = []
    for flag, text in (("--from", options.since), ("--to", options.until)):
        try:
            day = None if text is None else datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError as error:
            raise UserError(f"{flag} is '{text}'; wanted a date YYYY-MM-DD") from error
        bounds.append(day and int(day.timestamp()) * {"s": 1, "ms": 1000}[unit])
    if None not in bounds and bounds[0] >= bounds[1]:
        raise UserError(f"--from {options.since} is not before --to {options.until}")
    return tuple(bounds)


def in_window(times: np.ndarray, window: Window) -> np.ndarray:
    """Mask of the times within (from, to), to excluded."""
    since, until = window
    inside = np.ones(len(times), dtype=bool) if since is None else times >= since
    return inside if until is None else inside & (times < until)
