"""What the experiments compute, by hand on small cases."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ld4mrec.comparison.entries import Entry
from ld4mrec.comparison.ledger import Row
from ld4mrec.errors import ConfigError
from ld4mrec.paper import bound, datasets, inference, levels, noise, overview, sensitivity
from ld4mrec.paper.runs import Setup, check_keys, check_models, entry_of, why_missing


class Settings(dict):
    """A configuration of a model of ours that is trained."""

    ours = True


def finished(seed, **metrics):
    """A run that has a result on the test split."""
    result = {"test": metrics, "epochs": 1}
    config = Settings(seed=seed, req_training=True)
    return SimpleNamespace(config=config, result=result, failure=None)


def row(*runs, reason=None):
    return Row(Entry("A", "BPR", {}, ""), "set", {}, (1,), runs, reason)


def setup(**more):
    given = {"dataset": "blocks", "keys": {}, "seeds": (1,), "out": Path("nowhere")}
    return Setup(**given | more)


# --- noise


def test_relative_losses_pair_the_seeds():
    clean = row(finished(1, r=0.5), finished(2, r=0.4), finished(3, r=0.9))
    noisy = row(finished(2, r=0.3), finished(1, r=0.55))
    assert levels.relative_losses(clean, noisy, "r") == pytest.approx([-0.1, 0.25])
    assert levels.relative_losses(row(finished(1, r=0.0)), noisy, "r") == []


def test_the_rows_of_a_share_become_one():
    asked = setup(seeds=(1, 2))
    rows = []
    for at in range(1 + 2 * len(noise.SHARES)):
        for label in ("A", "B"):
            rows.append(Row(Entry(label, label, {}, ""), "set", {}, (1,), (f"{label}{at}",)))
    found = noise.by_share(asked, rows)
    assert list(found) == ["A", "B"]
    assert list(found["A"]) == [0.0, *noise.SHARES]
    assert found["A"][0.0].runs == ("A0",)
    assert found["B"][0.05].runs == ("B1", "B2")
    assert found["B"][0.25].runs == ("B9", "B10")


# --- published and measured


def measured(model, *values, label=None):
    runs = [finished(seed, **{"recall@20": value}) for seed, value in enumerate(values, 1)]
    entry = Entry(label or model, model, {}, "")
    return Row(entry, "microlens", {}, tuple(range(1, len(values) + 1)), tuple(runs))


def test_published_beside_measured_and_what_moved():
    rows = [measured("LD4MRec", 0.10, 0.12), measured("LightGCN", 0.0984), measured("EASE", 0.12)]
    table, figure = overview.published_and_measured({"microlens": rows}, "microlens")
    assert table.labels == ["EASE", "LD4MRec", "LightGCN"]  # in the order measured
    cells = {label: dict(cells) for label, cells in table.lines()}
    assert cells["LD4MRec"]["published"].value == 0.0972
    assert cells["LD4MRec"]["measured"].value == pytest.approx(0.11)
    assert cells["LightGCN"]["change"].value == pytest.approx(0.2)
    assert cells["EASE"]["change"].value is None
    assert cells["EASE"]["change"].note == "the paper does not compare with it"
    places = [cells[label]["place, published"].value for label in table.labels]
    assert places == [None, 1, 2]
    assert [cells[label]["place, measured"].value for label in table.labels] == [1, 2, 3]
    assert "Table 3" in table.title
    assert figure.columns == ("published", "measured")
    assert figure.highlight == ("LD4MRec",)


def test_nothing_measured_is_no_figure():
    assert overview.published_and_measured({"microlens": None}, "microlens") == ()
    (table,) = overview.published_and_measured({"microlens": [measured("EASE", 0.1)]}, "microlens")
    assert table.labels == ["EASE"]


# --- bound


def test_terms_by_hand():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    predicted = torch.tensor([[0.5, 0.0], [1.5, -0.5]])
    free = torch.tensor([[0.5, 1.0], [1.5, -0.5]])
    still = torch.tensor([[0.0, 0.0], [1.5, 0.5]])
    found = [term.tolist() for term in bound.terms_of(x, predicted, free, still)]
    expected = [
        [0.25, 0.25 + 2.25],
        [1.0, 0.0],
        [0.25, 1.0],
        [1.0, 0.0],  # one bit of the item at a half; what lies outside [0, 1] is certain
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_added_entropy_by_hand():
    none, first, later = bound.added_entropy([0.0, 0.1, 0.4])
    assert (none, first) == (None, 0.0)
    assert later == pytest.approx(math.log(2))  # twice the deviation, one ln 2 more
    assert bound.added_entropy([0.0, 0.0, 0.0]) == [None, None, None]


def test_a_model_is_measured_at_each_step():
    """A model whose prediction is its row plus t, so that all terms are known."""
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])

    class Known:
        n_users, inference_steps = 2, 0
        diffusion = SimpleNamespace(steps=2, alpha_bar=torch.tensor([0.9, 0.6]).double())
        history = SimpleNamespace(
            dense=lambda users: rows[users], bags=lambda users: (users, rows[users])
        )
        codes, user_step = torch.zeros(3, 1), torch.zeros(2, 1)

        def conditions(self, users):
            return ()

        def served(self, users, of_users, e):
            assert len(e) == len(users)
            return of_users - 1

        def add_sums(self, scores, users, of_users):
            assert len(users) == len(scores)
            return scores + 1  # the item graph's share

        def full_sort_predict(self, interaction):
            return rows[interaction[0]] + self.inference_steps

    found = bound.measure(SimpleNamespace(config={"device": "cpu"}), Known(), None)
    assert found["steps"] == [0, 1, 2]
    assert found["reconstruction error"] == [0.0, 3.0, 12.0]
    assert found["shift"] == [0.0, 3.0, 12.0]
    assert found["shift by noise"] == [0.0, 3.0, 12.0]
    assert found["variance"] == pytest.approx([0.0, 0.1, 0.4])
    table = bound.terms({1: found}, None)
    assert [cell.value for cell in table.column("shift").values()] == [0.0, 3.0, 12.0]
    assert table.column(bound.ADDED)["forward-free"].note == bound.AT_ZERO
    (error, *_) = bound.words({1: found})
    assert "rises with every step in 1 of 1 seed" in error


# --- inference


def test_strategies_are_means_over_seeds():
    found = {
        seed: {
            name: {
                split: dict.fromkeys(("recall@10", "recall@20", "ndcg@10", "ndcg@20"), value)
                for split in ("valid", "test")
            }
            | {"seconds": 2 * value}
            for name, value in (("forward-free", at), ("1 forward step", 2 * at))
        }
        for seed, at in ((1, 0.1), (2, 0.3))
    }
    table = inference.strategies(found, None)
    free = table.column("test Recall@20")["forward-free"]
    assert (free.value, free.spread) == pytest.approx((0.2, np.std([0.1, 0.3], ddof=1)))
    assert table.column(inference.TIME)["1 forward step"].value == pytest.approx(0.8)
    empty = inference.strategies({}, "no run")
    assert empty.column("test NDCG@10")["forward-free"].note == "no run"


def test_strategies_have_names():
    names = [inference.name_of(t) for t in (0, 1, 5)]
    assert names == ["forward-free", "1 forward step", "5 forward steps"]


# --- sensitivity


@pytest.mark.parametrize(
    ("many", "always", "expected"),
    [
        (3, 0.01, [0.005, 0.01, 0.2]),
        (3, 0.05, [0.005, 0.05, 0.2]),
        (3, 0.2, [0.005, 0.05, 0.2]),
        (2, 0.005, [0.005, 0.2]),
        (9, 0.01, [0.005, 0.01, 0.05, 0.1, 0.2]),
        (3, 0.3, [0.005, 0.05, 0.2]),
    ],
)
def test_values_of_a_key(many, always, expected):
    assert sensitivity.spread([0.005, 0.01, 0.05, 0.1, 0.2], many, always) == expected


def test_a_list_is_varied_and_a_value_is_fixed():
    keys = {"soft_prob": [0.1, 0.3], "svd_rank": 50, "diffusion_steps": [2], "epochs": 3}
    varied = sensitivity.varied(setup(keys=keys, grid=(3, 2)))
    assert varied["soft_prob"] == [0.1, 0.3]
    assert varied["soft_gamma"] == [0.01, 0.2]  # the nearest end gives way to the default
    assert varied["svd_rank"] == [50]
    assert sensitivity.base_of(setup(keys=keys)).svd_rank == 50
    points = sensitivity.entries_at(setup(keys=keys, grid=(3, 2)))
    # T = 2, rank = 50 and three noise scales, of which one is where the rank's point is
    assert len(points) == 2 * 2 + 1 + 1 + 2
    assert all(point.svd_rank == 50 for point in points)
    with pytest.raises(ConfigError, match="--svd_rank is an empty list"):
        sensitivity.varied(setup(keys={"svd_rank": []}))


def test_settings_of_a_file_are_where_the_others_stay(tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text("LD4MRec: {soft_prob: 0.1, learning_rate: 1.0e-3}\n")
    asked = setup(settings=file)
    assert sensitivity.base_of(asked).soft_prob == 0.1
    entry = entry_of(asked, changes={"ablation": "no_sr"})
    assert entry.settings == {"soft_prob": 0.1, "learning_rate": 1e-3, "ablation": "no_sr"}
    assert entry.origin == "settings of best.yaml"


# --- data sets


def test_counts_by_hand(toy):
    found = datasets.counted(
        "toy", {"data_path": f"{toy.parent}/", "topk": [1], "valid_metric": "recall@1"}
    )
    assert (found["users"], found["items"], found["interactions"]) == (5, 7, 18)
    assert found["density"] == 18 / 35
    assert found["average length"] == 18 / 5
    assert (found["train"], found["validation"], found["test"]) == (11, 3, 4)
    assert (found["least of a user"], found["least of an item"]) == (2, 1)
    assert found["features"] == "text, image"
    absent = datasets.counted("tmall", {"data_path": f"{toy.parent}/"})
    assert "there is no data folder" in absent
    assert "preprocessing/tmall.py" in absent


# --- rows


def test_reasons():
    failed = SimpleNamespace(
        config=Settings(seed=2, req_training=True), result=None, failure="it diverged"
    )
    open_run = SimpleNamespace(
        config=Settings(seed=3, req_training=True), result=None, failure=None
    )
    assert why_missing(row(finished(1))) is None
    assert why_missing(row(finished(1), failed)) == "1 of 2 seeds; it diverged"
    assert why_missing(row(open_run)) == "not run"
    assert why_missing(row(open_run, reason="no features")) == "no features"


def test_names_are_checked():
    check_keys({"epochs": 1, "soft_prob": 0.1}, ["LD4MRec", "Pop"])
    with pytest.raises(ConfigError, match="--epochz is no option.* Did you mean 'epochs'"):
        check_keys({"epochz": 1}, ["LD4MRec"])
    with pytest.raises(
        ConfigError, match="--soft_prob is no option.* no key of what it would train"
    ):
        check_keys({"soft_prob": 0.1}, ["Pop"])
    check_models(("LD4MRec", "Pop"))
    with pytest.raises(ConfigError, match="-m names 'LightGNC'.* Did you mean 'LightGCN'"):
        check_models(("LightGNC",))
