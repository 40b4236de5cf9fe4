"""Trainers that forks bring along, which are refused: models are trained here by one trainer.

MMRec has one trainer, too. A fork's own one replaces the steps, the order of optimisers, often the
evaluation; it calls parts of MMRec's trainer that ours has not, so only its name would be its own.
"""

import ast
from pathlib import Path

from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import RunError

FOLDERS = ("common", "utils", "trainers", "trainer")  # of a checkout, where its trainers lie
KEYS = ("trainer", "trainer_class", "trainer_name")  # of its yaml
METHODS = ("fit", "train_epoch", "train_one_epoch", "train_step", "training_step")


def refuse_own_trainer(name: str, file: Path, yaml: Path | None, model_class: type) -> None:
    """RunError if a third party's model asks for a trainer of its own: a class <name>Trainer in its
    file or checkout, one that its yaml names, or a method of its own in place of calculate_loss.
    """
    wanted = {f"{name}trainer".lower()}
    values = read_yaml(yaml) if yaml else {}
    wanted |= {str(values[key]).lower() for key in KEYS if isinstance(values.get(key), str)}
    wanted -= {"trainer"}
    folder = file.parent
    root = folder.parent if folder.name == "models" else folder
    files = [file, *(path for place in FOLDERS for path in sorted((root / place).glob("*.py")))]
    for path in files:
        for found in _classes(path):
            if found.lower() in wanted:
                raise RunError(
                    f"{name} asks for a trainer of its own, {found} in {path}, and models are "
                    "trained here by one trainer: run it in its own checkout; to train it by this "
                    "trainer all the same, give a copy of its file that lies outside the checkout "
                    "and has no such class"
                )
    own = [method for method in METHODS if callable(getattr(model_class, method, None))]
    loss = getattr(model_class, "calculate_loss", None)
    if own and (loss is None or loss.__module__ == "common.abstract_recommender"):
        raise RunError(
            f"{name} ({file}) trains itself by {own[0]}() and has no calculate_loss, which the "
            "trainer calls for each batch; give it one that returns the loss"
        )


def _classes(path):
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # of a file that nobody may need
        return []
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
