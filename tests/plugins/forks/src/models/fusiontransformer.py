# modalities fused by a transformer; dropout; cosine warm restarts stepped by itself; amp scaler kept
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from common.abstract_recommender import GeneralRecommender


class FusionTransformer(GeneralRecommender):
    def __init__(self, config, dataset):
        super(FusionTransformer, self).__init__(config, dataset)
        d = config['embedding_size']
        self.user, self.item = nn.Embedding(self.n_users, d), nn.Embedding(self.n_items, d)
        self.vp, self.tp = nn.Linear(self.v_feat.shape[1], d), nn.Linear(self.t_feat.shape[1], d)
        layer = nn.TransformerEncoderLayer(d, 2, 32, dropout=0.2, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 1)
        self.temp = torch.tensor([1.0], requires_grad=True)
        self.opts = {'temp': torch.optim.SGD([self.temp], lr=0.1, momentum=0.5)}
        self.sched = CosineAnnealingWarmRestarts(self.opts['temp'], T_0=3)
        self.scaler = torch.cuda.amp.GradScaler(enabled=False)
        self.logs = []

    def items(self):
        x = torch.stack([self.item.weight, self.vp(self.v_feat), self.tp(self.t_feat)], dim=1)
        return self.enc(x).mean(1)

    def calculate_loss(self, interaction):
        i = self.items()
        u = self.user(interaction[0])
        x = (u * i[interaction[1]]).sum(1) - (u * i[interaction[2]]).sum(1)
        t = (x.detach() * self.temp - 1).pow(2).mean()
        self.opts['temp'].zero_grad()
        self.scaler.scale(t).backward()
        self.scaler.step(self.opts['temp'])
        self.scaler.update()
        loss = F.softplus(-x * self.temp.detach()).mean()
        self.logs.append((loss.item(), {'temp': float(self.temp)}))
        return loss

    def post_epoch_processing(self):
        self.sched.step()

    def full_sort_predict(self, interaction):
        return self.user(interaction[0]) @ self.items().t()
