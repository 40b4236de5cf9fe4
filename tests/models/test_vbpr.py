import math

import numpy as np
import pytest
import torch

import golden
from golden import BATCH, near

SMALL = golden.SMALL | {"reg_weight": 0.1}
PHASES = {"user_emb.weight": 1, "item_emb.weight": 2, "projection.weight": 3, "projection.bias": 4}


def build(folder, tables=None):
    return golden.set_waves(golden.build("VBPR", folder, tables, **SMALL), PHASES)


@pytest.fixture
def both(toy):
    return build(toy, golden.FEATURES)


@pytest.fixture
def image_only(toy):
    return build(toy, {"image": golden.FEATURES["image"]})


def test_loss_and_gradients_are_the_references(both):
    loss, norms = golden.loss_and_norms(both)
    assert loss == near(0.944465)
    expected = dict(zip(PHASES, (0.264122, 0.196989, 0.294500, 0.084042), strict=True))
    assert norms == near(expected)


def test_trajectory_and_scores_are_the_references(both):
    first = [0.682921, 0.235545, 0.740567, 0.164281, 0.822912, 0.117244, 0.828151]
    last = [-0.410481, 0.145369, -0.239893, 0.000504, -0.137285, -0.129735, 0.004261]
    assert golden.scores(both, [0, 4]).tolist() == [near(first), near(last)]
    losses = [0.944465, 0.894483, 0.847739, 0.803959, 0.762896]
    assert golden.trajectory(both.train(), BATCH) == near(losses)


def test_with_the_image_alone_it_is_the_references(image_only):
    scores = [0.640189, 0.245217, 0.754831, 0.154806, 0.796552, 0.108096, 0.815681]
    assert golden.scores(image_only, [0])[0].tolist() == near(scores)
    loss, norms = golden.loss_and_norms(image_only.train())
    assert loss == near(0.936336)
    expected = dict(zip(PHASES, (0.253261, 0.196372, 0.203117, 0.083970), strict=True))
    assert norms == near(expected)
    losses = [0.936336, 0.898705, 0.863056, 0.829156, 0.796913]
    assert golden.trajectory(image_only, BATCH) == near(losses)


def test_features_are_used_as_they_are_text_first(toy):
    text, image = (np.load(toy / f"{name}_feat.npy") for name in ("text", "image"))
    model = build(toy)
    assert model.content.numpy() == pytest.approx(np.concatenate([text, image], 1))
    (toy / "image_feat.npy").unlink()
    assert build(toy).content.numpy() == pytest.approx(text)


def test_without_projection_it_is_bpr(both, toy):
    bpr = golden.build("BPR", toy, **SMALL)
    with torch.no_grad():
        both.projection.weight.zero_()
        both.projection.bias.zero_()
        bpr.user_emb.weight.copy_(both.user_emb.weight[:, :8])
        bpr.item_emb.weight.copy_(both.item_emb.weight)
    torch.testing.assert_close(golden.scores(both), golden.scores(bpr))


def test_without_the_learned_half_equal_content_ties(both):
    both.content[3] = both.content[1]
    with torch.no_grad():
        both.item_emb.weight.zero_()
        both.user_emb.weight[:, :8] = 0
    scores = golden.scores(both)
    assert scores[:, 3].equal(scores[:, 1])
    assert not scores[:, 3].equal(scores[:, 2])


def test_the_bias_shifts_all_items_of_a_user(both):
    before = golden.scores(both)
    with torch.no_grad():
        both.projection.bias += 0.7
    shift = golden.scores(both) - before
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift))
    assert shift.abs().min() > 1e-3


def test_the_order_of_modalities_does_not_matter(both):
    loss = both.calculate_loss(BATCH).item()
    order = [*range(5, 11), *range(5)]
    both.content = both.content[:, order]
    with torch.no_grad():
        both.projection.weight.copy_(both.projection.weight[:, order])
    assert both.calculate_loss(BATCH).item() == pytest.approx(loss, rel=1e-12)


def test_features_are_not_learned(both):
    before = both.content.clone()
    golden.trajectory(both, BATCH)
    assert not both.content.requires_grad
    assert both.content.equal(before)
    assert "content" not in both.state_dict()


def test_a_batch_projects_its_own_items_with_the_same_result(both):
    rows = []
    both.projection.register_forward_hook(lambda module, x, y: rows.append(x[0][..., 0].numel()))
    loss = both.calculate_loss(BATCH)
    assert rows == [len(BATCH[1:].unique())]
    users, items = both()
    u, p, n = users[BATCH[0]], *items[BATCH[1:]]
    x = ((u * p).sum(1) - (u * n).sum(1)).sigmoid()
    expected = -x.log().mean() + 0.1 * (u.norm() + p.norm() + n.norm()) / 5
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)


def test_initial_values(toy):
    model = golden.build("VBPR", toy, **SMALL | {"embedding_size": 500})
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes == dict(zip(PHASES, [(5, 1000), (7, 500), (500, 11), (500,)], strict=True))
    for table in (model.user_emb.weight, model.item_emb.weight):
        assert table.abs().max().item() <= math.sqrt(6 / sum(table.shape))  # Xavier-uniform
    w = model.projection.weight
    assert w.std().item() == pytest.approx(math.sqrt(2 / sum(w.shape)), rel=0.05)
    assert w.abs().max().item() > math.sqrt(6 / sum(w.shape))  # Xavier-normal
    assert model.projection.bias.eq(0).all()


def test_number_of_parameters(both):
    def count(users, items, d, features):
        return users * 2 * d + items * d + d * features + d

    assert sum(p.numel() for p in both.parameters()) == count(5, 7, 8, 5 + 6)
    assert count(19445, 7050, 64, 384 + 4096) == 3_226_944  # MMRec's baby, as upstream prints it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
        ({"reg_weight": -1.0}, r"reg_weight must be a number in \[0, inf\], got -1.0"),
        ({"use_neg_sampling": False}, "use_neg_sampling must be True: .*negative.* got False"),
    ],
)
def test_refused_options(toy, options, message):
    with pytest.raises(ValueError, match=message):
        golden.build("VBPR", toy, **options)
