# coding: utf-8
# Everything that MMRec's own folders offer to a model.
from common.abstract_recommender import AbstractRecommender, GeneralRecommender
from common.encoders import LightGCN_Encoder
from common.init import xavier_normal_initialization, xavier_uniform_initialization
from common.loss import BPRLoss, EmbLoss, L2Loss
from common.trainer import AbstractTrainer, Trainer
from utils.configurator import Config
from utils.data_utils import *
from utils.dataloader import EvalDataLoader, TrainDataLoader
from utils.dataset import RecDataset
from utils.logger import init_logger
from utils.metrics import *
from utils.misc import *
from utils.quick_start import quick_start
from utils.topk_evaluator import TopKEvaluator
from utils.utils import (build_knn_neighbourhood, build_knn_normalized_graph, build_sim,
                         compute_normalized_laplacian, dict2str, early_stopping, get_dense_laplacian,
                         get_local_time, get_model, get_sparse_laplacian, get_trainer, init_seed)

import torch
import torch.nn as nn


class EveryImport(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        assert isinstance(self, AbstractRecommender) and get_trainer() is Trainer
        assert isinstance(config, Config) and isinstance(dataset, TrainDataLoader)
        assert isinstance(dataset.dataset, RecDataset)
        self.started = get_local_time()
        self.encoder = LightGCN_Encoder(config, dataset)  # n_layers is None: three layers
        assert self.encoder.n_layers == 3
        self.head = nn.Linear(config['embedding_size'], config['embedding_size'])
        self.head.apply(xavier_normal_initialization)
        self.tail = nn.Sequential(nn.Linear(config['embedding_size'], 4), nn.Tanh())
        self.tail.apply(xavier_uniform_initialization)
        assert self.head.bias.abs().sum() == 0 and self.tail[0].bias.abs().sum() == 0
        self.bpr, self.emb, self.l2 = BPRLoss(), EmbLoss(), L2Loss()

        # what they say
        ones = torch.ones(2, 3)
        assert self.emb(ones, ones).shape == self.l2(ones).shape == (1,)
        assert torch.isclose(self.emb(torch.ones(4, 4), ones), torch.tensor((4 + 6 ** 0.5) / 2))
        assert self.l2(ones, 2 * ones) == 0.5 * (6 + 24)
        assert torch.isclose(self.bpr(torch.zeros(3), torch.zeros(3)), torch.tensor(2.0).log())
        assert 'recall' in dict2str({'recall@20': 0.5})
        assert early_stopping(0.5, 0.4, 3, 10) == (0.5, 0, False, True)

    def calculate_loss(self, interaction):
        u, i = self.encoder(interaction[:2])
        _, n = self.encoder(interaction[[0, 2]])
        u = self.tail(self.head(u))
        i, n = self.tail(i), self.tail(n)
        loss = self.bpr((u * i).sum(1), (u * n).sum(1))
        return loss, 1e-3 * self.emb(u, i), 1e-4 * self.l2(n)

    def full_sort_predict(self, interaction):
        u, i = self.encoder.get_embedding()
        return self.tail(self.head(u[interaction[0]])) @ self.tail(i).t()
