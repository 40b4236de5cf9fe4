"""Popularity: the same ranking for everybody, by the number of training interactions."""

import numpy as np
import torch

from common.abstract_recommender import GeneralRecommender
from common.servable import ExportParts, HistoryScores


class Pop(GeneralRecommender):
    needs_history = False

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        items = dataloader.inter_matrix(form="coo").col
        counts = torch.from_numpy(np.bincount(items, minlength=self.n_items)).float()
        self.register_buffer("counts", counts)  # (I,)

    def full_sort_predict(self, interaction):
        return self.counts.repeat(len(interaction[0]), 1)  # (B, I)

    def fold_in(self) -> HistoryScores:
        """As `common.servable.FoldsIn`; the history is not read."""
        return lambda history, users: self.full_sort_predict([users])

    def export_parts(self) -> ExportParts:
        """As `common.servable.Exports`: the counts."""
        load = "counts = np.load('item_scores.npy')"
        return {
            "imports": "numpy as np",
            "score": [load, "scores = np.tile(counts, (len(users), 1))"],
            "new_users": [load, "scores = np.tile(counts, (rows.shape[0], 1))"],
            "files": {"item_scores.npy": self.counts},
            "holds": {"item_scores.npy": "(items,), the same for everybody"},
        }
