"""A model and its loaders, opened from a configuration."""

import inspect
from typing import NamedTuple

from torch import nn

from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
from ld4mrec.data.features import data_folder
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError, RunError, UndeclaredKeyError, UserError
from ld4mrec.plugins import sources
from ld4mrec.terminal import get_local_time
from ld4mrec.training import memory, randomness


class OpenModel(NamedTuple):
    """A model on its device, with the loaders of its three splits."""

    model: nn.Module
    train: TrainDataLoader
    valid: EvalDataLoader
    test: EvalDataLoader

    @property
    def loaders(self) -> tuple[TrainDataLoader, EvalDataLoader, EvalDataLoader]:
        return self[1:]


def open_model(config: Config, splits=None, model_class=None) -> OpenModel:
    """Seed everything, then make loaders and model as a run does, in its order.

    config: of one point, a model of ours unless model_class is given. splits: the three RecDatasets
    if they are read already. Raises UserError for a value or data that the model refuses.
    """
    if model_class is None:
        model_class = sources.load_model_class(sources.find_model(config["model"]))
    loaders = make_loaders(config, splits or RecDataset(config).split())
    return OpenModel(build(model_class, config, loaders[0]), *loaders)


def make_loaders(config: Config, splits) -> tuple[TrainDataLoader, EvalDataLoader, EvalDataLoader]:
    """Seed everything, then make the loaders of training, validation and test."""
    randomness.init_seed(config["seed"])
    randomness.deterministic(config["deterministic"])
    train, valid, test = splits
    for split in splits:
        split.config, split.dataset_path = config, str(data_folder(config))
    users = config["eval_batch_size"]
    also = (valid,) if config["mask_valid_at_test"] else ()
    return (
        TrainDataLoader(config, train, batch_size=config["train_batch_size"], shuffle=True),
        EvalDataLoader(config, valid, train, batch_size=users),
        EvalDataLoader(config, test, train, batch_size=users, mask_also=also),
    )


def build(model_class, config: Config, train: TrainDataLoader) -> nn.Module:
    """The model on its device. A value that it refuses is the user's to mend."""
    more = {} if config.ours else further_arguments(model_class, config)
    try:
        return model_class(config, train, **more).to(config["device"])
    except UserError:
        raise
    except (MemoryError, RuntimeError) as error:
        if memory.is_exhausted(error):
            raise memory.too_small(config["model"], error) from error
        raise
    except KeyError as error:  # of a copy of the configuration: Config's own is a UserError
        name = error.args[0] if error.args else None
        if config.ours and isinstance(name, str) and name not in config:
            raise UndeclaredKeyError(
                f"{config['model']} reads the key '{name}' and no yaml declares it; declare it in "
                "the model's yaml, as null if optional"
            ) from error
        raise
    except ValueError as error:
        if not config.ours:
            raise
        raise ConfigError(f"{config['model']}: {error}") from error


def further_arguments(model_class: type, config: Config) -> dict[str, object]:
    """What the constructor of a fork's model asks for beside configuration and loader.

    RunError for an argument without a default whose meaning is not plain from its name.
    """
    plain = {"local_time": get_local_time, "device": lambda: config["device"]}
    parameters = list(inspect.signature(model_class).parameters.values())[2:]
    named = [each for each in parameters if each.kind is not each.VAR_POSITIONAL]
    asked = [each.name for each in named if each.kind is not each.VAR_KEYWORD]
    needed = [each.name for each in named if each.default is each.empty and each.name in asked]
    if unknown := [name for name in needed if name not in plain]:
        raise RunError(
            f"the constructor of {model_class.__name__} asks for '{unknown[0]}' beside config and "
            f"dataloader; wanted a default for it (known without one: {', '.join(plain)})"
        )
    return {name: plain[name]() for name in needed}
