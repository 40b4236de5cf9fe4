"""What is measured on a finished run's weights, kept as a file in the run's folder."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ld4mrec.comparison.ledger import Row
from ld4mrec.errors import DamagedError
from ld4mrec.paper.runs import why_missing
from ld4mrec.progress import progress
from ld4mrec.runs.reopen import load
from ld4mrec.runs.run import Run

logger = logging.getLogger(__name__)


def measured(
    row: Row, name: str, version: int, measure: Callable[[Run, nn.Module, Sequence], Any]
) -> tuple[dict[int, Any], str | None]:
    """({seed: what `measure` found}, why some seeds lack it or None) of a row's finished runs.

    measure: (run, model with its best weights, loaders) -> plain values, kept in `<name>.json` of
    the run's folder; a file of another version is measured again.
    """
    found, gone = {}, None
    for run in progress(row.done, name, len(row.done)):
        try:
            kept = run.folder.read_json(f"{name}.json")
        except DamagedError as error:
            logger.warning("measuring again: %s", error)
            kept = None
        if kept is None or kept.get("version") != version or "found" not in kept:
            if not (run.folder.path / "best.pt").is_file():
                gone = "the run's weights (best.pt) are gone"
                continue
            logger.info("%s of %s", name, run.folder.path)
            opened = load(run)
            kept = {"version": version, "found": measure(run, opened.model, opened.loaders)}
            run.folder.write_json(f"{name}.json", kept)
        found[run.config["seed"]] = kept["found"]
    return found, why_missing(row) or gone
