# coding: utf-8
# Looks at everything that the loader and its data set have, and relies on what it finds.
import logging

import numpy as np
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class LoaderTour(GeneralRecommender):
    def __init__(self, config, dataloader):
        super(LoaderTour, self).__init__(config, dataloader)
        data, df = dataloader.dataset, dataloader.dataset.df
        self.tour_of_the_data_set(config, data)

        # the loader
        rows = len(df)
        assert len(dataloader) == int(np.ceil(rows / dataloader.batch_size))
        assert dataloader.batch_size == dataloader.step == self.batch_size
        assert dataloader.config is config and dataloader.dataset is data
        assert len(dataloader.dataset_bk) == rows and dataloader.additional_dataset is None
        assert isinstance(dataloader.logger, logging.Logger)
        assert dataloader.shuffle and dataloader.neg_sampling and not dataloader.use_full_sampling
        assert not dataloader.neighborhood_loss_required and callable(dataloader.sample_func)
        assert dataloader.device == self.device and dataloader.pr == dataloader.inter_pr == 0
        assert abs(dataloader.sparsity - (1 - rows / (self.n_users * self.n_items))) < 1e-9

        users, items = df[data.uid_field].values, df[data.iid_field].values
        history = dataloader.history_items_per_u
        assert set(history) == set(users.tolist()) == dataloader.all_users_set
        assert sum(len(some) for some in history.values()) == len(set(zip(users, items)))
        assert all(isinstance(some, set) for some in history.values())
        assert isinstance(dataloader.all_items, list)
        assert sorted(dataloader.all_items) == sorted(dataloader.all_items_set) == sorted(set(items.tolist()))
        assert dataloader.all_item_len == len(dataloader.all_items)
        assert isinstance(dataloader.all_uids, np.ndarray)
        assert sorted(dataloader.all_uids.tolist()) == sorted(set(users.tolist()))

        popularity = np.zeros(self.n_items)
        for user, its in history.items():
            for item in its:
                popularity[item] += 1
        self.popularity = torch.from_numpy(popularity).float().to(self.device)
        self.bias = nn.Parameter(torch.zeros(self.n_items))

    def tour_of_the_data_set(self, config, data):
        assert data.get_user_num() == data.user_num == self.n_users
        assert data.get_item_num() == data.item_num == self.n_items
        assert (data.uid_field, data.iid_field) == (config['USER_ID_FIELD'], config['ITEM_ID_FIELD'])
        assert data.splitting_label == config['inter_splitting_label']
        assert data.dataset_name == config['dataset'] and data.config['dataset'] == config['dataset']
        assert data.dataset_path.rstrip('/') == config['data_path'] + config['dataset']
        assert isinstance(data.logger, logging.Logger)
        assert list(data.df.columns) == [data.uid_field, data.iid_field]
        assert all(kind == np.int64 for kind in data.df.dtypes)
        # sizes are largest id + 1 over all splits, so the train split may have fewer
        assert data.df[data.iid_field].max() < self.n_items

        first = data[0]
        assert first[data.uid_field] == data.df[data.uid_field].iloc[0] and len(data[:3]) == 3
        other = data.copy(data.df.copy())
        other.shuffle()
        assert len(other) == len(data) and other.get_item_num() == self.n_items
        str(data)
        assert data.inter_num == len(data)

    def calculate_loss(self, interaction):
        pos, neg = interaction[1], interaction[2]
        gap = self.bias[pos] - self.bias[neg] + (self.popularity[pos] - self.popularity[neg]) * 0.1
        return -torch.log(torch.sigmoid(gap)).mean()

    def full_sort_predict(self, interaction):
        scores = self.bias + 0.1 * self.popularity
        return scores.unsqueeze(0).repeat(interaction[0].shape[0], 1)
