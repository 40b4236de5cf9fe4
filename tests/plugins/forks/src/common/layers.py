import torch
import torch.nn as nn


class MLP(nn.Module):
    def __init__(self, dims, drop=0.1):
        super(MLP, self).__init__()
        mods = []
        for i in range(len(dims) - 1):
            mods += [nn.Linear(dims[i], dims[i + 1]), nn.LeakyReLU(), nn.Dropout(drop)]
        self.net = nn.Sequential(*mods[:-2])

    def forward(self, x):
        return self.net(x)
