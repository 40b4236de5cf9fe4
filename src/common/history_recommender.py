"""The base of models that read nothing of a user but the history, so that they serve anybody."""

import torch
from torch import Tensor

from common.abstract_recommender import GeneralRecommender
from common.graph import HistoryRows
from common.servable import HistoryScores


class HistoryRecommender(GeneralRecommender):
    """A class sets `history`, the training users' rows, and defines `history_scores`."""

    history: HistoryRows

    def history_scores(self, history: HistoryRows, users: Tensor) -> Tensor:
        """Scores (B, I) of rows users (B,) of any histories, not a view of model state."""
        raise NotImplementedError(f"{type(self).__name__} does not define history_scores")

    @torch.no_grad()
    def full_sort_predict(self, interaction):
        return self.history_scores(self.history, interaction[0])

    def fold_in(self) -> HistoryScores:
        """As `common.servable.FoldsIn`; a training user's own history gives that user's scores."""
        return torch.no_grad()(self.history_scores)
