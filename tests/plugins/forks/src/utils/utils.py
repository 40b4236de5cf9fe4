# utils of a fork: MMRec's names, and a few of its own behind them
import datetime
import importlib
import os
import random
import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F


def get_local_time():
    cur = datetime.datetime.now()
    return cur.strftime('%b-%d-%Y-%H-%M-%S')


def get_model(model_name):
    model_file_name = model_name.lower()
    module_path = '.'.join(['models', model_file_name])
    if importlib.util.find_spec(module_path, __name__):
        model_module = importlib.import_module(module_path, __name__)
    return getattr(model_module, model_name)


def build_sim(context):
    context_norm = context.div(torch.norm(context, p=2, dim=-1, keepdim=True))
    return torch.mm(context_norm, context_norm.transpose(1, 0))


def get_item_item_graph(feat, k, device):
    sim = build_sim(feat.detach())
    val, ind = torch.topk(sim, k, dim=-1)
    rows = torch.arange(feat.shape[0], device=device).view(-1, 1).expand(-1, k).flatten()
    idx = torch.stack([rows, ind.flatten()])
    return torch.sparse.FloatTensor(idx, torch.ones_like(val.flatten()) / k, torch.Size(sim.shape)).coalesce()


def build_mixed_graph(adjs, weights):
    total = weights[0] * adjs[0]
    for a, w in zip(adjs[1:], weights[1:]):
        total = total + w * a
    return total.coalesce()


def normalize_sp(adj):
    rowsum = np.array(adj.sum(1))
    d_inv = np.power(rowsum + 1e-7, -0.5).flatten()
    d_inv[np.isinf(d_inv)] = 0.
    d = sp.diags(d_inv)
    return d.dot(adj).dot(d)


def sp_to_torch(mat):
    mat = mat.tocoo().astype(np.float32)
    idx = torch.from_numpy(np.vstack((mat.row, mat.col)).astype(np.int64))
    return torch.sparse.FloatTensor(idx, torch.from_numpy(mat.data), torch.Size(mat.shape))


class AverageMeter(object):
    def __init__(self):
        self.reset()

    def reset(self):
        self.val, self.sum, self.count = 0., 0., 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(1, self.count)
