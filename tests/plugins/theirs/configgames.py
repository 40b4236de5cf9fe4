# coding: utf-8
# Everything that can be done with the config object.
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class ConfigGames(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        assert config['nowhere'] is None and 'nowhere' not in config and 'seed' in config
        assert config['model'] == 'ConfigGames' and config['dataset'] in str(config)
        assert type(config['seed']) is int and config['device'] == self.device
        assert config['weight_size'] == [8, 4] and config['fusion'] == 'c'
        assert type(config['quoted']) is str and config['tiny'] == 1e-4 and config['flag'] is None
        assert config['valid_metric_bigger'] and 'n_layers' in config['hyper_parameters']
        assert config.final_config_dict['embedding_size'] == config['embedding_size']
        config['embedding_size'] = 16
        config['mine'] = [1]
        assert config['embedding_size'] == 16 and config['mine'] == [1]
        self.n_layers = config['n_layers']
        assert self.n_layers in (1, 2)
        self.user = nn.Embedding(self.n_users, config['embedding_size'])
        self.item = nn.Embedding(self.n_items, config['embedding_size'])

    def calculate_loss(self, interaction):
        u, p, n = self.user(interaction[0]), self.item(interaction[1]), self.item(interaction[2])
        return nn.functional.softplus((u * (n - p)).sum(1)).mean() / self.n_layers

    def full_sort_predict(self, interaction):
        return self.user(interaction[0]) @ self.item.weight.t()
