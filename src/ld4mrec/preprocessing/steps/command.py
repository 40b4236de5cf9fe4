"""The way that the three commands share, from raw rows to a data folder."""

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ld4mrec.data import splits
from ld4mrec.data.counts import TABLE_1, Counts
from ld4mrec.errors import DISK_IS_FULL, DataError, UserError, counted, exit_status
from ld4mrec.preprocessing.steps import features, published, writing
from ld4mrec.preprocessing.steps.data_set import DataSet
from ld4mrec.preprocessing.steps.encoders.base import FILE, MODALITIES
from ld4mrec.preprocessing.steps.images import Images
from ld4mrec.preprocessing.steps.interactions import (
    Interactions,
    k_core,
    sample_for_core,
    sample_users,
)
from ld4mrec.preprocessing.steps.options import check_options, parser_of
from ld4mrec.preprocessing.steps.report import Report, table_row
from ld4mrec.preprocessing.steps.sources import raw_folder
from ld4mrec.terminal import say

VERSION = 1  # a change of the outputs' bytes raises it
FEW_IMAGES = 0.05  # below this share of items with an image, the folder is another data set's


def chosen(
    data_set: DataSet, options: Namespace, report: Report
) -> tuple[Interactions, list[dict], list[Counts]]:
    """The interactions to write, renumbered; records of the files read; the core's rounds."""
    left, files = data_set.interactions(options, report)
    left = data_set.required(left, options, report)
    # equal where the rows were sampled while they were read
    if options.users is not None and options.users != left.counts().users:
        left = sample_users(left, options.users, options.seed)
        report.step(
            f"sample of {counted(options.users, 'user')} (seed {options.seed})", left.counts()
        )
    k, target = options.k_core, options.target_users
    if target is not None:
        report.say(f"searching the sample of users whose {k}-core has {counted(target, 'user')}")
        left, n = sample_for_core(left, k, target, options.seed)
        report.step(f"sample of {counted(n, 'user')} (seed {options.seed})", left.counts())
    left, rounds = k_core(left, k)
    why = (
        "Every user or item has too few interactions, directly or after others were dropped: use a "
        "smaller --k-core, more users, or a longer window."
    )
    report.step(f"{k}-core ({counted(len(rounds) - 1, 'round')})", left.counts(), why)
    return left.renumbered(), files, rounds


def check_images(images: Images, items: list[str]) -> None:
    """DataError if almost no item has an image."""
    held = sum(item in images for item in items)
    if held < FEW_IMAGES * len(items):
        looked_for = ", ".join(images.where(item) for item in items[:3])
        raise DataError(
            f"{images.path} has an image for {held} of {counted(len(items), 'item')}; looked for "
            f"{looked_for}, ... Is it the folder of another data set? --images PATH names the "
            "right one, --image-encoder none goes on without"
        )


def check_apart(out: Path, options: Namespace, read: dict[str, str]) -> None:
    """UserError if a path that is read or written beside `out` lies in it: `out` is made anew.

    read: {option: path} of what else is read.
    """
    paths = {
        f"--{name}": getattr(options, name, None) for name in ("raw", "images", "store", "urls")
    }
    paths |= read
    for modality in MODALITIES:
        name = getattr(options, f"{modality}_encoder")
        if name.startswith(FILE):
            paths[f"--{modality}-encoder"] = name.removeprefix(FILE)
    for flag, path in paths.items():
        path = None if path is None else os.path.realpath(os.path.expanduser(path))
        if path is not None and Path(path).is_relative_to(os.path.realpath(out)):
            raise UserError(f"{flag}: {path} lies in {out}, the folder to make; move one of them")


def prepare(
    data_set: DataSet, options: Namespace, say: Callable[[str], object] = print
) -> dict | None:
    """The whole way; returns the manifest, None for --dry-run."""
    out = Path(os.path.abspath(options.out))
    if data_set.download:
        raw_folder(options.raw)
    check_apart(out, options, data_set.paths(options))
    check_options(data_set, options)
    # looked for before hours of reading
    images = data_set.images(options) if features.wants("image", options) else None
    if not options.dry_run:
        writing.check_free(out, options.force)
    report = Report(say)
    interactions, files, rounds = chosen(data_set, options, report)
    if paper := TABLE_1.get(data_set.name):
        row = paper._asdict() | {"step": "the paper's Table 1", "density": paper.density}
        report.say(table_row(row))
        report.note(published.NOT_A_10_CORE)
        report.note(published.NOT_PUBLISHED)
    rule, labels = data_set.labels(interactions, options, report)
    parts = splits.describe(interactions, labels)
    say_split(report, rule, parts)
    items = interactions.item_ids.texts()
    if images is not None:
        check_images(images, items)
    ready = data_set.vectors(options, items)
    if options.dry_run:
        for line in estimate(options, interactions, images, items):
            say(line)
        return None
    data_set.side_files(options, items, report)
    with writing.staged(out, options.force) as folder:
        timed = data_set.time_unit is not None
        writing.write_interactions(folder, out.name, interactions, labels, timed)
        texts = None
        if features.wants("text", options):
            texts, more = data_set.texts(options, items, report)
            files = files + [record for record in more if record not in files]
        made = features.encode(options, items, texts, images, folder, ready)
        manifest = {
            "generator": f"{writing.GENERATORS}{data_set.name}.py, version {VERSION}",
            "name": out.name,
            "options": plain(options),
            "sources": files,
            "lines": report.bad_lines,
            "steps": report.steps,
            "core_rounds": [counts._asdict() for counts in rounds],
            "published": paper and paper._asdict(),
            "notes": report.notes,
            "split": {"rule": rule, **parts},
            "timestamp": timed and data_set.timestamp(),
            "features": made,
            "versions": {"numpy": np.__version__, "pandas": pd.__version__},
        }
        manifest = writing.write_manifest(folder, manifest)
    say(f"made {out}")
    return manifest


def say_split(report: Report, rule: str, parts: dict) -> None:
    """Print the sizes of the split, and what training never shows."""
    sizes = ", ".join(f"{parts[name]:,} {name}" for name in splits.NAMES)
    report.say(f"split {rule}: {sizes}")
    of_users = parts["held_out_rows_of_users_not_in_train"]
    of_items = parts["held_out_rows_of_items_not_in_train"]
    if of_users or of_items:
        report.say(
            f"training never shows {counted(parts['users_not_in_train'], 'user')} and "
            f"{counted(parts['items_not_in_train'], 'item')}; "
            f"{counted(of_users, 'held-out row is', 'held-out rows are')} of such users "
            f"(the host drops these) and {of_items:,} of such items (these stay)"
        )


def estimate(
    options: Namespace, interactions: Interactions, images: Images | None, items: list[str]
) -> Iterator[str]:
    """Lines on what writing and encoding would take."""
    users, n_items, n = interactions.counts()
    size = 32 * n + 72 * users + 24 * n_items  # bytes of the text files, roughly
    yield f"interactions and mappings: about {size / 2**20:.1f} MiB"
    if not options.no_features:
        n_images = sum(item in images for item in items) if images is not None else 0
        yield from features.estimate(options, n_items, n_images)
    yield "nothing was written (--dry-run)"


def plain(options: Namespace) -> dict:
    """The options for the manifest; of absolute paths, which tell a user's name, the last part."""
    hidden = {"window", "dry_run", "force"}
    words = {name: value for name, value in sorted(vars(options).items()) if name not in hidden}
    return {name: _plain(value) for name, value in words.items()}


def _plain(value):
    """A value as JSON has it: paths without the folders that lead there; a DataFrame's size."""
    if isinstance(value, pd.DataFrame):
        return f"a DataFrame of {counted(len(value), 'row')}"
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    value = _without_place(value)
    return str(value) if isinstance(value, Path) else value


def _without_place(value):
    """A path, or the FILE of an encoder, without the folders that lead to it from the root."""
    kind = FILE if isinstance(value, str) and value.startswith(FILE) else ""
    path = value.removeprefix(kind) if kind else value
    if isinstance(path, str | Path) and os.path.isabs(path):
        return f"{kind}{Path(path).name}"
    return value


def run(data_set: DataSet, arguments: list[str] | None = None, prog: str | None = None) -> int:
    """Parse, prepare, and turn what a user can mend into a message. Returns the exit status."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    options = parser_of(data_set, prog).parse_args(arguments)

    def command():
        try:
            prepare(data_set, options, say)
        except OSError as error:
            if error.errno in DISK_IS_FULL:
                raise DataError(f"{error}. The disk is full; --store is {options.store}") from error
            raise

    return exit_status(command, "interrupted; the same command goes on where it can")
