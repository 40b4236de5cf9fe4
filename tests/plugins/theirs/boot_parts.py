# coding: utf-8
import torch.nn as nn

from models.common.init import xavier_uniform_initialization


class Predictor(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layer = nn.Linear(dim, dim)
        self.apply(xavier_uniform_initialization)

    def forward(self, x):
        return self.layer(x)
