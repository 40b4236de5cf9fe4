# a discriminator with an optimiser of its own, trained inside calculate_loss
import torch
import torch.nn as nn
from torch import autograd
from common.abstract_recommender import GeneralRecommender
from src.common.loss import BPRLoss
from src.utils.utils import init_seed


class Disc(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, d), nn.LeakyReLU(True), nn.BatchNorm1d(d), nn.Linear(d, 1))

    def forward(self, x):
        return 10 * self.net(x)


class Adversarial(GeneralRecommender):
    def __init__(self, config, dataset):
        super(Adversarial, self).__init__(config, dataset)
        d = config['embedding_size']
        self.user_id, self.item_id = nn.Embedding(self.n_users, d), nn.Embedding(self.n_items, d)
        self.img = nn.Linear(self.v_feat.shape[1], d)
        self.D = [Disc(d).to(self.device)]   # in a list, so that the host's optimiser does not see it
        self.optim_D = torch.optim.Adam(self.D[0].parameters(), lr=1e-3, betas=(0.5, 0.9))
        self.bpr = BPRLoss()

    def gp(self, real, fake):
        eps = torch.rand(real.shape[0], 1, device=self.device)
        x = (eps * real + (1 - eps) * fake).requires_grad_(True)
        g = autograd.grad(self.D[0](x).sum(), x, create_graph=True)[0]
        return ((g.norm(2, dim=1) - 1) ** 2).mean()

    def calculate_loss(self, interaction):
        u, p, n = interaction
        real, fake = self.item_id(p), self.img(self.v_feat[p])
        if len(p) > 1:
            self.optim_D.zero_grad()
            lossD = self.D[0](fake.detach()).mean() - self.D[0](real.detach()).mean()
            lossD = lossD + 0.1 * self.gp(real.detach(), fake.detach())
            lossD.backward()
            self.optim_D.step()
        ue = self.user_id(u)
        items = self.item_id.weight + self.img(self.v_feat)
        bpr = self.bpr((ue * items[p]).sum(1), (ue * items[n]).sum(1))
        g_loss = -self.D[0](fake).mean() if len(p) > 1 else fake.sum() * 0.
        return bpr, 1e-3 * g_loss

    def full_sort_predict(self, interaction):
        items = self.item_id.weight + self.img(self.v_feat)
        return self.user_id(interaction[0]) @ items.T
