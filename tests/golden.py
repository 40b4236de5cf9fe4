"""COMMON's toy world with its formulas for parameters and features, for the sheets' golden numbers.

Everything is float64: the features as the model reads them, and the model afterwards.
"""

import numpy as np
import torch

import support
from ld4mrec.data.batches import TrainDataLoader
from ld4mrec.data.interactions import RecDataset
from ld4mrec.plugins import sources

BATCH = torch.tensor([[0, 1, 2, 3, 0], [1, 3, 4, 5, 1], [4, 0, 5, 0, 3]])
TOLERANCE = 2e-6


def wave(shape, phase):
    """A parameter of this phase: 0.3 sin(0.37 m + phase) at flat place m."""
    m = torch.arange(np.prod(shape), dtype=torch.float64)
    return (0.3 * torch.sin(0.37 * m + phase)).view(shape)


def feature(width, phase):
    """A feature table of this phase, (7, width)."""
    m = torch.arange(7 * width, dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(1.7 * m + 0.013 * m.square() + phase)).view(7, width)


def features():
    return {"image": feature(6, 1), "text": feature(5, 2)}


def build(name, monkeypatch, folder, tables=None, **options):
    """The model in the toy world with these feature tables, its parameters as they come."""
    tables = features() if tables is None else tables
    support.write_toy(folder, features=False)
    for modality, table in tables.items():
        np.save(folder / "toy" / f"{modality}_feat.npy", table.numpy())
    # the host would read float32
    monkeypatch.setattr(
        "ld4mrec.data.features.read_feature_file", lambda path, n_items: np.load(path)
    )
    sizes = {"embedding_size": 8, "train_batch_size": 5}
    config = support.config_for(folder / "toy", name, **sizes | options)
    loader = TrainDataLoader(config, RecDataset(config).split()[0], 5)
    torch.manual_seed(0)
    return sources.load_model_class(sources.find_model(name))(config, loader).double()


def fill(phases):
    """Set parameters, {parameter: phase}, to the sheets' waves."""
    with torch.no_grad():
        for parameter, phase in phases.items():
            parameter.copy_(wave(parameter.shape, phase))


def close(value, expected, tolerance=TOLERANCE):
    got = torch.as_tensor(value, dtype=torch.float64).detach()
    wanted = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance)


def numbers(text):
    return [float(word) for word in text.split()]


def gradient_norms(loss, parameters):
    """Frobenius norms of the gradient of a loss, in the order of the parameters."""
    return [g.norm().item() for g in torch.autograd.grad(loss, parameters)]


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
