"""Models without a host's data set: any training pairs, the reference's parameters, float64."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import golden
import support
from ld4mrec.plugins import sources

N_USERS, N_ITEMS = 5, 7
SMALL = {"embedding_size": 8, "train_batch_size": 5, "reg_weight": 0.1}  # the reference's settings


def matrix(pairs, n_users=N_USERS, n_items=N_ITEMS):
    """Training interactions as the loader gives them."""
    users, items = np.array(pairs).T
    return sp.coo_matrix((np.ones(len(users)), (users, items)), shape=(n_users, n_items))


def loader(interactions):
    """What a model asks of a training loader."""
    n_users, n_items = interactions.shape
    data = SimpleNamespace(get_user_num=lambda: n_users, get_item_num=lambda: n_items)
    return SimpleNamespace(
        dataset=data, inter_matrix=lambda form="coo": interactions.asformat(form)
    )


def build(name, folder, interactions=None, **options):
    """A model on a data folder's features, with its yaml's defaults."""
    config = support.config_for(folder, name, **options)
    interactions = matrix(support.TRAIN) if interactions is None else interactions
    torch.manual_seed(0)
    model_class = sources.load_model_class(sources.find_model(name))
    return model_class(config, loader(interactions)).double()


def set_waves(model, phases):
    """Fill the parameters with the reference's values; phases: {name: phase}, of all of them."""
    parameters = dict(model.named_parameters())
    assert parameters.keys() == phases.keys()
    golden.fill({parameters[name]: phase for name, phase in phases.items()})
    return model


def gradient_norms(model, batch=golden.BATCH):
    """(loss, {parameter's name: norm of its gradient})."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = model.calculate_loss(batch)
    norms = golden.gradient_norms(loss, parameters)
    return loss.item(), dict(zip(names, norms, strict=True))


def near(expected):
    return pytest.approx(expected, abs=golden.TOLERANCE, rel=0)
