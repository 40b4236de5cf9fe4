import math

import pytest
import torch
import torch.nn.functional as F

from common.loss import (
    BLOCK,
    BPRLoss,
    EmbLoss,
    L2Loss,
    bpr_loss,
    embedding_norm,
    info_nce,
    l2_penalty,
)

POS = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64)
NEG = torch.tensor([0.1, 1.0, -40.0], dtype=torch.float64)


def slow_bpr(gamma):
    terms = [
        -math.log(gamma + 1 / (1 + math.exp(n - p)))
        for p, n in zip(POS.tolist(), NEG.tolist(), strict=True)
    ]
    return sum(terms) / len(terms)


def test_bpr_loss_is_the_papers():
    assert bpr_loss(POS, NEG).item() == pytest.approx(slow_bpr(0))


@pytest.mark.parametrize("gamma", [1e-10, 1e-5, 0.3])
def test_bpr_with_gamma(gamma):
    assert bpr_loss(POS, NEG, gamma).item() == pytest.approx(slow_bpr(gamma))
    assert BPRLoss(gamma)(POS, NEG).item() == pytest.approx(slow_bpr(gamma))


def test_bpr_class_has_mmrecs_gamma_and_a_scalar():
    loss = BPRLoss()(torch.tensor([-100.0]), torch.tensor([100.0]))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(-math.log(1e-10))


def test_bpr_loss_is_finite_with_a_gradient_where_mmrecs_has_none():
    pos = torch.tensor([-200.0], requires_grad=True)
    bpr_loss(pos, torch.tensor([200.0])).backward()
    assert pos.grad.item() == pytest.approx(-1.0)


def test_bpr_loss_refuses_shapes_that_broadcast_but_the_class_takes_them():
    several = torch.zeros(3, 4)
    with pytest.raises(ValueError, match=r"one negative per positive.*\(3, 1\).*\(3, 4\)"):
        bpr_loss(torch.zeros(3, 1), several)
    assert BPRLoss()(torch.zeros(3, 1), several).item() == pytest.approx(math.log(2))


def test_emb_loss_by_hand():
    first, last = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0], [8.0]])
    loss = EmbLoss()(first, last)
    assert loss.shape == (1,)
    assert loss.item() == pytest.approx((5 + 10) / 2)  # divided by the rows of the last
    assert embedding_norm(last, first).item() == pytest.approx((5 + 10) / 1)


def test_emb_loss_of_another_norm():
    assert EmbLoss(norm=1)(torch.tensor([[3.0, -4.0]])).item() == pytest.approx(7)


def test_emb_loss_at_zero_has_gradient_zero():
    table = torch.zeros(3, 2, requires_grad=True)
    EmbLoss()(table).sum().backward()
    assert table.grad.equal(torch.zeros(3, 2))


def test_l2_loss_by_hand():
    loss = L2Loss()(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0]))
    assert loss.shape == (1,)
    assert loss.item() == pytest.approx((1 + 4 + 9) / 2)  # not divided by any batch
    assert l2_penalty(torch.tensor([3.0])).shape == ()


@pytest.mark.parametrize("zero", [False, True])
def test_embedding_norm_has_the_gradient_of_the_norm(zero):
    table = torch.randn(4, 3, dtype=torch.float64) * (not zero)
    tables = [table.clone().requires_grad_() for _ in range(2)]
    (3 * embedding_norm(tables[0])).backward()
    (3 * torch.linalg.vector_norm(tables[1]) / 4).backward()
    torch.testing.assert_close(tables[0].grad, tables[1].grad)


def test_losses_keep_float64():
    table = torch.ones(2, 2, dtype=torch.float64)
    assert {f(table).dtype for f in (EmbLoss(), L2Loss())} == {torch.float64}


@pytest.mark.parametrize("function", [embedding_norm, l2_penalty])
def test_penalties_want_a_tensor(function):
    with pytest.raises(ValueError, match="at least one tensor"):
        function()


def slow_info_nce(anchors, positives, temperature, cosine):
    terms = []
    for b, anchor in enumerate(anchors):
        products = positives @ anchor
        if cosine:
            products = products / (positives.norm(dim=1) * anchor.norm())
        weights = [math.exp(x / temperature) for x in products.tolist()]
        terms.append(-math.log(weights[b] / sum(weights)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("cosine", [True, False])
def test_info_nce_is_the_slow_one(cosine):
    torch.manual_seed(0)
    one, other = torch.randn(2, 5, 3, dtype=torch.float64)
    expected = slow_info_nce(one, other, 0.3, cosine)
    assert info_nce(one, other, 0.3, cosine).item() == pytest.approx(expected)
    assert info_nce(one, other, 0.3).item() == pytest.approx(slow_info_nce(one, other, 0.3, True))
    assert info_nce(one, other, 0.3).item() != pytest.approx(info_nce(other, one, 0.3).item())


def test_info_nce_survives_large_products_and_zero_rows():
    rows = torch.tensor([[300.0, 0.0], [0.0, 0.0]], requires_grad=True)
    raw = info_nce(rows, rows, 0.01, cosine=False)
    assert raw.item() == pytest.approx(math.log(2) / 2)
    info_nce(rows, rows, 0.2).backward()
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(3, 1), (1, 2), (3,)])
def test_info_nce_refuses_shapes_that_broadcast(shape):
    with pytest.raises(ValueError, match=r"two \(B, D\) tensors of one shape, got \(3, 2\)"):
        info_nce(torch.zeros(3, 2), torch.zeros(shape), 0.2)


@pytest.mark.parametrize("cosine", [True, False])
def test_info_nce_by_blocks_is_the_cross_entropy_of_all_logits(cosine):
    torch.manual_seed(0)
    rows = 2 * BLOCK + 3
    pair = [torch.randn(rows, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    got = info_nce(*pair, 0.3, cosine)
    one, other = (F.normalize(x) if cosine else x for x in pair)
    expected = F.cross_entropy(one @ other.T / 0.3, torch.arange(rows))
    torch.testing.assert_close(got, expected)
    gradients = torch.autograd.grad(2 * got, pair)
    torch.testing.assert_close(gradients, torch.autograd.grad(2 * expected, pair))


def test_info_nce_of_counted_rows_is_that_of_all_of_them():
    torch.manual_seed(0)
    counts = torch.tensor([1, 3, 2])
    pair = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    got = info_nce(*pair, 0.5, counts=counts)
    expected = info_nce(*(x.repeat_interleave(counts, 0) for x in pair), 0.5)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, pair), torch.autograd.grad(expected, pair))
    with pytest.raises(ValueError, match=r"info_nce wants \(3,\) counts, got \(2,\)"):
        info_nce(*pair, 0.5, counts=counts[:2])
