"""The base class, as contract section 2 has it: two feature files, None for what is absent."""

from pathlib import Path

import numpy as np
import torch
from torch import nn


class GeneralRecommender(nn.Module):
    def __init__(self, config, dataloader):
        super().__init__()
        self.n_users = dataloader.dataset.get_user_num()
        self.n_items = dataloader.dataset.get_item_num()
        self.batch_size = config["train_batch_size"]
        self.device = config["device"]
        self.v_feat = self._features(config, "vision_feature_file")
        self.t_feat = self._features(config, "text_feature_file")
        assert self.v_feat is not None or self.t_feat is not None

    def _features(self, config, key):
        path = Path(config["data_path"]) / config["dataset"] / (config[key] or "absent")
        if not path.is_file():
            return None
        return torch.from_numpy(np.load(path)).float().to(self.device)

    def pre_epoch_processing(self):
        pass

    def post_epoch_processing(self):
        pass
