# a diffusion over histories, its schedule in numpy float64
import enum
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from common.abstract_recommender import GeneralRecommender


class MeanType(enum.Enum):
    START_X = enum.auto()
    EPSILON = enum.auto()


class GaussianDiffusion:
    def __init__(self, steps, scale=1e-2):
        self.steps = steps
        self.mean_type = MeanType.START_X
        betas = np.linspace(1e-4, scale, steps, dtype=np.float64)
        self.alphas_cumprod = np.cumprod(1. - betas, axis=0)
        self.Lt_history = np.zeros(steps)
        self.Lt_count = np.zeros(steps, dtype=int)

    def q_sample(self, x, t, noise):
        a = torch.from_numpy(self.alphas_cumprod)[t.cpu()].to(x.device).float().unsqueeze(1)
        return a.sqrt() * x + (1 - a).sqrt() * noise

    def update(self, t, loss):
        for i, l in zip(t.cpu().numpy(), loss.detach().cpu().numpy()):
            self.Lt_history[i] = 0.9 * self.Lt_history[i] + 0.1 * l
            self.Lt_count[i] += 1

    def sample_t(self, n):
        p = np.sqrt(self.Lt_history + 1.)
        return torch.from_numpy(np.random.choice(self.steps, size=n, p=p / p.sum()))


class GaussDiff(GeneralRecommender):
    def __init__(self, config, dataset):
        super(GaussDiff, self).__init__(config, dataset)
        self.R = torch.from_numpy(dataset.inter_matrix(form='csr').toarray()).float().to(self.device)
        h = config['hidden']
        self.diff = GaussianDiffusion(config['steps'])
        self.enc = nn.Sequential(nn.Linear(self.n_items + 8, h), nn.Tanh(), nn.Linear(h, self.n_items))
        self.freq = torch.exp(-math.log(10000) * torch.arange(0, 4).float() / 4).to(self.device)

    def time(self, t):
        a = t.float().unsqueeze(1).to(self.device) * self.freq
        return torch.cat([a.cos(), a.sin()], 1)

    def calculate_loss(self, interaction):
        users = interaction.unique() if interaction.dim() == 1 else interaction[0].unique()
        x = self.R[users]
        t = self.diff.sample_t(len(users))
        x_t = self.diff.q_sample(x, t, torch.randn_like(x))
        mse = ((self.enc(torch.cat([x_t, self.time(t)], 1)) - x) ** 2).mean(1)
        self.diff.update(t, mse)
        return mse.mean()

    def full_sort_predict(self, interaction):
        x = self.R[interaction[0]]
        t = torch.zeros(len(x), dtype=torch.long)
        return self.enc(torch.cat([x, self.time(t)], 1))
