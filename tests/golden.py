"""COMMON's toy world with its formulas for parameters and features, for the sheets' golden numbers.

Models see training pairs and feature tables without the host's data set, and are float64 once
built.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import support
from ld4mrec.plugins import sources

N_USERS, N_ITEMS = 5, 7
BATCH = torch.tensor([[0, 1, 2, 3, 0], [1, 3, 4, 5, 1], [4, 0, 5, 0, 3]])
SMALL = {"embedding_size": 8, "train_batch_size": 5}  # the reference's settings
TOLERANCE = 2e-6


def wave(shape, phase):
    """A parameter of this phase: 0.3 sin(0.37 m + phase) at flat place m."""
    m = torch.arange(np.prod(shape), dtype=torch.float64)
    return (0.3 * torch.sin(0.37 * m + phase)).view(shape)


def feature(width, phase):
    """A feature table of this phase, (7, width)."""
    m = torch.arange(7 * width, dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(1.7 * m + 0.013 * m.square() + phase)).view(7, width)


FEATURES = {"image": feature(6, 1), "text": feature(5, 2)}


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


def build(name, folder, tables=None, interactions=None, **options):
    """A model with its yaml's defaults, its parameters as they come.

    tables: {modality: (I, F)} in place of the data folder's features.
    """
    if tables is not None:
        for old in folder.glob("*_feat.npy"):
            old.unlink()
        for modality, table in tables.items():
            np.save(folder / f"{modality}_feat.npy", table.float().numpy())
    config = support.config_for(folder, name, **options)
    interactions = matrix(support.TRAIN) if interactions is None else interactions
    torch.manual_seed(0)
    model_class = sources.load_model_class(sources.find_model(name))
    return model_class(config, loader(interactions)).double()


def fill(phases):
    """Set parameters, {parameter: phase}, to the sheets' waves."""
    with torch.no_grad():
        for parameter, phase in phases.items():
            parameter.copy_(wave(parameter.shape, phase))


def set_waves(model, phases):
    """`fill` of all parameters of a model by name, {name: phase}."""
    parameters = dict(model.named_parameters())
    assert parameters.keys() == phases.keys()
    fill({parameters[name]: phase for name, phase in phases.items()})
    return model


def near(expected):
    return pytest.approx(expected, abs=TOLERANCE, rel=0)


def close(value, expected, tolerance=TOLERANCE):
    got = torch.as_tensor(value, dtype=torch.float64).detach()
    wanted = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance)


def numbers(text):
    return [float(word) for word in text.split()]


def gradient_norms(loss, parameters):
    """Frobenius norms of the gradient of a loss, in the order of the parameters."""
    return [g.norm().item() for g in torch.autograd.grad(loss, parameters)]


def loss_and_norms(model, batch=BATCH):
    """(loss, {parameter's name: norm of its gradient})."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = model.calculate_loss(batch)
    return loss.item(), dict(zip(names, gradient_norms(loss, parameters), strict=True))


def trajectory(model, batch, steps=5, before_step=None):
    """The loss at successive Adam steps on one batch; the model has taken all of them."""
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    model.train()
    for step in range(steps):
        if before_step:
            before_step(step)
        optimizer.zero_grad()
        loss = model.calculate_loss(batch.clone())
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def scores(model, users=range(5)):
    users = torch.tensor(list(users))
    return model.eval().full_sort_predict([users, torch.empty(2, 0, dtype=torch.int64)])
