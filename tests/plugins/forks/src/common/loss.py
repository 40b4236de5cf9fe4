import torch
import torch.nn as nn
import torch.nn.functional as F


class BPRLoss(nn.Module):
    def __init__(self, gamma=1e-10):
        super(BPRLoss, self).__init__()
        self.gamma = gamma

    def forward(self, pos_score, neg_score):
        return - torch.log(self.gamma + torch.sigmoid(pos_score - neg_score)).mean()


class InfoNCE(nn.Module):
    def __init__(self, temp):
        super(InfoNCE, self).__init__()
        self.temp = temp

    def forward(self, a, b):
        a, b = F.normalize(a), F.normalize(b)
        return F.cross_entropy(a @ b.t() / self.temp, torch.arange(a.shape[0], device=a.device))


class DiceLoss(nn.Module):
    def forward(self, pred, target):
        inter = (pred * target).sum()
        return 1 - (2. * inter + 1.) / (pred.sum() + target.sum() + 1.)


def alignment(x, y):
    x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    return (x - y).norm(p=2, dim=1).pow(2).mean()


def uniformity(x):
    x = F.normalize(x, dim=-1)
    return torch.pdist(x, p=2).pow(2).mul(-2).exp().mean().log()
