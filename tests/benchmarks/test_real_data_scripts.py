"""explore and look_inside on a small world: what they train, reuse, shuffle and print."""

import statistics
from pathlib import Path

import explore
import look_inside
import numpy as np
import pytest
import torch

import support
from ld4mrec.places import CONFIGS

SMALL = {
    "embedding_size": 8,
    "hidden_size": 8,
    "svd_rank": 4,
    "pg_hidden": 4,
    "learning_rate": 0.05,
    "epochs": 2,
    "topk": [10, 20],
    "threads": 1,
}


@pytest.fixture
def keys(blocks, tmp_path):
    paths = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    return SMALL | paths | {"cache_dir": str(tmp_path / "cache")}


def test_settings_change_one_key_of_the_model():
    yaml = CONFIGS / "model" / "LD4MRec.yaml"
    declared = support.Config("LD4MRec", "demo", model_yaml=yaml).final_config_dict
    assert set(explore.SPACE) <= set(declared)
    names = [name for name, _ in explore.settings()]
    assert names[0] == "base"
    assert len(set(names)) == len(names)
    assert explore.settings(["dropout=0.5"])[1:] == [("dropout=0.5", {"dropout": 0.5})]


def test_explore_trains_each_setting_and_seed_once(keys, capsys):
    named = explore.settings(["dropout=0.5", "svd_input"])
    found = explore.explore("blocks", keys, named, [1, 2], minutes=10)
    out = capsys.readouterr().out.splitlines()
    assert out == [  # nothing of the test split
        f"{name}, seed {seed}: {by_seed[seed]['valid']['recall@20']:.4f} at epoch "
        f"{by_seed[seed]['best_epoch'] + 1}"
        for seed in (1, 2)
        for name, by_seed in found.items()
    ]
    logs = list(Path(keys["runs_dir"]).glob("blocks/LD4MRec/*/log.txt"))
    assert all("epoch 1 | loss" in path.read_text() for path in logs)
    assert [len(by_seed) for by_seed in found.values()] == [2, 2, 2]
    again = explore.explore("blocks", keys, named, [1, 2], minutes=10)
    assert again == found
    assert len(list(Path(keys["runs_dir"]).glob("blocks/LD4MRec/*/result.json"))) == 6
    base = [found["base"][seed]["valid"]["recall@20"] for seed in (1, 2)]
    rows = explore.table(found)
    (line,) = (row for row in rows if row.startswith("| base |"))
    assert f"| {statistics.mean(base):.4f} | {base[0]:.4f} {base[1]:.4f} |" in line
    assert not any("test" in row for row in rows)


def test_explore_stops_at_its_budget(keys, capsys):
    found = explore.explore("blocks", keys, explore.settings(["dropout"]), [1], minutes=0)
    assert not any(found.values())
    assert "0 minutes are over" in capsys.readouterr().out
    assert "| base | not run |" in "\n".join(explore.table(found))


def test_a_diverged_setting_is_shown_as_failed(keys, monkeypatch):
    def diverge(*arguments, **options):
        raise explore.DivergedError("the loss is not finite")

    monkeypatch.setattr(explore, "run", diverge)
    found = explore.explore("blocks", keys, explore.settings(["dropout"]), [1], minutes=1)
    assert "| dropout=0.5 | failed |" in "\n".join(explore.table(found))


def test_looking_inside_changes_one_part_at_a_time(keys):
    (finished,) = look_inside.run(
        "LD4MRec", "blocks", keys | {"epochs": 30, "variant": "paper", "item_graph": 3}
    )
    found = look_inside.look(finished)
    assert found["as trained"] == finished.result["valid"]["recall@20"]
    assert found["collaborative shuffled"] < found["as trained"]
    shuffled = {name for name in found if name.endswith("shuffled")}
    assert shuffled == {
        f"{part} shuffled"
        for part in (
            "history",
            "user_step",
            "collaborative",
            "preference_text",
            "preference_image",
            "item_graph",
        )
    }


def test_a_shuffled_item_graph_sums_others_histories(keys):
    (finished,) = look_inside.run("LD4MRec", "blocks", keys)
    model = look_inside.load(finished).model
    users = torch.arange(model.n_users)
    order = torch.roll(users, 1)
    before = model.full_sort_predict([users, None])
    sums = model.add_sums(torch.zeros_like(before), *model.history.bags(users))
    undo = look_inside.shuffle(model, "item_graph", order)
    shuffled = model.full_sort_predict([users, None])
    torch.testing.assert_close(shuffled, before - sums + sums[order], atol=1e-4, rtol=1e-4)
    undo()
    assert torch.equal(model.full_sort_predict([users, None]), before)


def test_what_the_parameters_hold(keys):
    (finished,) = look_inside.run("LD4MRec", "blocks", keys)
    model = look_inside.load(finished).model
    with torch.no_grad():
        model.user_step.zero_()[0] = 3.0  # one user's gate differs from the others'
        model.served.item_in.fill_(-2.0)
        for block in model.served.cg_blocks:
            block.gate.weight.fill_(1.0)
            block.gate.bias.fill_(0.5)
    found = look_inside.numbers(model)
    n_users, size = model.user_step.shape
    gates = np.array(
        [1 / (1 + np.exp(-3.0 * size - 0.5)), *[1 / (1 + np.exp(-0.5))] * (n_users - 1)]
    )
    assert found["rms of E"] == pytest.approx(3 * n_users**-0.5)
    assert found["rms of FC in"] == 2
    assert found["rms of FC in at first"] == 1  # the singular vectors
    model.net.unit, d = False, model.net.item_in.shape[1]
    model.served.unit = False
    xavier = look_inside.numbers(model)["rms of FC in at first"]
    assert xavier == pytest.approx((2 / (model.n_items + d)) ** 0.5)
    for k in (1, 2):
        assert found[f"gate {k}, mean"] == pytest.approx(gates.mean())
        assert found[f"gate {k}, spread over users"] == pytest.approx(gates.std(ddof=1), rel=1e-4)


PARTS = ["history", "user_step", "collaborative", "preference_text", "preference_image"]


@pytest.mark.parametrize("part", PARTS)
def test_shuffling_moves_rows_of_one_part_and_can_be_undone(part, keys):
    """Seen where all parts come together: what the network's blocks are given to score."""
    (finished,) = look_inside.run("LD4MRec", "blocks", keys)
    model = look_inside.load(finished).model
    users, net = torch.arange(model.n_users), model.served
    hidden = net.hidden

    def rows():
        given = []

        def spy(entered, e, c, preferences):
            given.extend([entered, e, c, *preferences])
            return hidden(entered, e, c, preferences)

        net.hidden = spy
        model.full_sort_predict([users, None])
        net.hidden = hidden
        return dict(zip(PARTS, [x.detach().clone() for x in given], strict=True))

    assert set(look_inside.parts(model)) == {*PARTS, "item_graph"}
    before, order = rows(), torch.roll(users, 1)
    undo = look_inside.shuffle(model, part, order)
    for name, found in rows().items():
        expected = before[name][order] if name == part else before[name]
        torch.testing.assert_close(found, expected, msg=name)
    undo()
    for name, found in rows().items():
        assert torch.equal(found, before[name]), name
