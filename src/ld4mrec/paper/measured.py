"""What is measured on a finished run's weights, kept as a file in the run's folder."""

import logging

from ld4mrec import files
from ld4mrec.progress import progress
from ld4mrec.runs.reopen import load

logger = logging.getLogger(__name__)
NO_WEIGHTS = "the run's weights (best.pt) are gone"


def measured(rows, name, version, measure):
    """({seed: what `measure` found}, why some seeds lack it or None) of the rows' finished runs.

    measure: (Run, model with its best weights, loaders) -> plain values. They are kept in
    `<name>.json` of the run's folder, with `version`, so that another report needs neither the time
    nor the weights; a file of another version is measured again.
    """
    found, why = {}, None
    done = [run for row in rows for run in row.done]
    for run in progress(done, name, len(done)):
        path = run.folder.path / f"{name}.json"
        kept = run.folder.read_json(path.name)
        if kept is None or kept.get("version") != version:
            if not (run.folder.path / "best.pt").is_file():
                why = NO_WEIGHTS
                continue
            logger.info("%s of %s", name, run.folder.path)
            opened = load(run)
            kept = {"version": version, "found": measure(run, opened.model, opened.loaders)}
            files.write_json(path, kept)
        found[run.config["seed"]] = kept["found"]
    return found, why
