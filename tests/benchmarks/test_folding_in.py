"""folding_in on a small world: users who were taken out, and three ways to make their vector."""

import folding_in

from common.signals import HistorySignals
from ld4mrec.config.configuration import Config

SMALL = {
    "embedding_size": 8,
    "hidden_size": 8,
    "svd_rank": 10,
    "pg_hidden": 4,
    "learning_rate": 0.05,
    "epochs": 5,
    "topk": [20],
    "threads": 1,
}


def test_the_vectors_length_decides_what_new_users_get(blocks, tmp_path, monkeypatch):
    vectors = {}
    forward = HistorySignals.forward

    def spy(self, items, begin):
        c, preferences = forward(self, items, begin)
        u = c[:, :10] * self.c_spread  # global: no centre
        vectors.setdefault(self.longest, []).append(u.norm(dim=1).max().item())
        return c, preferences

    monkeypatch.setattr(HistorySignals, "forward", spy)
    lengths = {"at most 0.1": 0.1, "as it comes": float("inf"), "left out": 1e-9}
    monkeypatch.setattr(folding_in, "LENGTHS", lengths)
    config = Config("LD4MRec", "blocks", {"data_path": f"{blocks.parent}/"})
    found = folding_in.new_users(config, SMALL, 1, tmp_path)
    assert max(vectors[0.1]) <= 0.1 + 1e-5
    assert max(vectors[1e-9]) < 1e-6
    assert max(vectors[float("inf")]) > 0.1
    assert len(found) == 2 + 3
    assert all(0 <= value <= 1 for value in found.values())
