import os
import numpy as np
import torch
import torch.nn as nn


class AbstractRecommender(nn.Module):
    def pre_epoch_processing(self):
        pass

    def post_epoch_processing(self):
        pass

    def calculate_loss(self, interaction):
        raise NotImplementedError

    def full_sort_predict(self, interaction):
        raise NotImplementedError


class GeneralRecommender(AbstractRecommender):
    def __init__(self, config, dataloader):
        super(GeneralRecommender, self).__init__()
        self.n_users = dataloader.dataset.get_user_num()
        self.n_items = dataloader.dataset.get_item_num()
        self.batch_size = config['train_batch_size']
        self.device = config['device']
        path = os.path.abspath(config['data_path'] + config['dataset'])
        v = os.path.join(path, config['vision_feature_file'])
        t = os.path.join(path, config['text_feature_file'])
        self.v_feat = torch.from_numpy(np.load(v, allow_pickle=True)).float().to(self.device)
        self.t_feat = torch.from_numpy(np.load(t, allow_pickle=True)).float().to(self.device)
        self.mm_feat = torch.cat([self.v_feat, self.t_feat], dim=1)
        self.image_available = np.abs(self.v_feat.cpu().numpy()).sum(1) > 0

    def l2_reg(self, *embs):
        return sum((e ** 2).sum() for e in embs) / embs[0].shape[0]
