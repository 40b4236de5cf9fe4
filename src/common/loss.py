"""Losses that models share, and MMRec's three loss classes as thin wrappers over them.

Our own models use the functions, which check shapes; the classes follow MMRec's API and check
nothing, because third-party models also call them with scores that broadcast.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MMREC_GAMMA = 1e-10  # what MMRec adds to the sigmoid of BPR
SELFREC_GAMMA = 1e-5  # and SELFRec
BLOCK = 256  # rows of InfoNCE's logits at a time: 2 MiB of them for a batch of 2048


def bpr_loss(pos_scores: Tensor, neg_scores: Tensor, gamma: float = 0.0) -> Tensor:
    """Bayesian personalised ranking: the mean of -log sigmoid(pos - neg), a scalar.

    pos_scores, neg_scores: (B,) scores of an observed and a sampled item, same users. gamma:
    MMRec's guard, -log(gamma + sigmoid(pos - neg)), needed to reproduce its numbers; 0 is the
    paper's loss. Raises ValueError if the shapes differ. Rendle et al., UAI 2009, arXiv:1205.2618.
    """
    pos, neg = tuple(pos_scores.shape), tuple(neg_scores.shape)
    if pos != neg:  # (B,) - (B, 1) would broadcast to (B, B)
        raise ValueError(f"bpr_loss wants one negative per positive, got shapes {pos} and {neg}")
    if gamma:
        return _guarded_bpr(pos_scores, neg_scores, gamma)
    return F.softplus(neg_scores - pos_scores).mean()


def embedding_norm(*embeddings: Tensor, p: float = 2) -> Tensor:
    """Sum of the p-norms of whole tensors (p = 2: Frobenius, not squared) over the rows of the
    last, a scalar.

    MMRec's EmbLoss. The gradient at an all-zero tensor is 0. Raises ValueError without a tensor.
    """
    if not embeddings:
        raise ValueError("embedding_norm wants at least one tensor, got none")
    norms = (_Norm.apply(e) if p == 2 else torch.linalg.vector_norm(e, ord=p) for e in embeddings)
    return sum(norms) / embeddings[-1].shape[0]


class _Norm(torch.autograd.Function):
    """The 2-norm of a whole tensor; torch's own looks for the zero norm in every entry."""

    @staticmethod
    def forward(ctx, x):
        norm = torch.linalg.vector_norm(x)
        ctx.save_for_backward(x, norm)
        return norm

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, norm = ctx.saved_tensors
        return x * torch.where(norm > 0, gradient / norm, 0.0)


def l2_penalty(*embeddings: Tensor) -> Tensor:
    """Half the sum of all squared entries of all tensors, a scalar; the caller divides by its batch
    size.

    MMRec's L2Loss. Raises ValueError without a tensor.
    """
    if not embeddings:
        raise ValueError("l2_penalty wants at least one tensor, got none")
    return 0.5 * sum(e.square().sum() for e in embeddings)


def info_nce(
    anchors: Tensor,
    positives: Tensor,
    temperature: float,
    cosine: bool = True,
    counts: Tensor | None = None,
) -> Tensor:
    """InfoNCE: the mean over rows of -log softmax(similarity / temperature), a scalar.

    anchors, positives: (B, D); row b of one belongs to row b of the other, all other rows of
    `positives` are its negatives (two rows of the same item, too). cosine: False for raw products.
    counts: (B,), row b stands for so many equal rows; the result is that of all of them, for less.
    A zero row has similarity 0. Raises ValueError if the shapes differ. van den Oord et al.,
    arXiv:1807.03748.
    """
    one, other = tuple(anchors.shape), tuple(positives.shape)
    if one != other or len(one) != 2:
        raise ValueError(f"info_nce wants two (B, D) tensors of one shape, got {one} and {other}")
    if counts is not None and tuple(counts.shape) != one[:1]:
        raise ValueError(f"info_nce wants {one[:1]} counts, got {tuple(counts.shape)}")
    if cosine:
        anchors, positives = F.normalize(anchors), F.normalize(positives)
    return _InfoNCE.apply(anchors / temperature, positives, counts)


class _InfoNCE(torch.autograd.Function):
    """Loss and gradients in one pass, by blocks of rows: no (B, B) matrix is ever in memory."""

    @staticmethod
    def forward(ctx, anchors, positives, counts):
        n = anchors.new_ones(len(anchors)) if counts is None else counts.to(anchors)
        shares, own = (n / n.sum()).unsqueeze(1), (anchors * positives).sum(1)  # (B, 1), (B,)
        weighted = shares * anchors  # (B, D)
        to_anchors, to_positives = torch.empty_like(anchors), -weighted
        log_sums = torch.empty_like(own)  # (B,), logarithms of the softmax's denominators
        log_n, columns = n.log(), positives.T
        for first in range(0, len(anchors), BLOCK):
            rows = slice(first, first + BLOCK)
            # as a column, the logarithm of its count is its weight in a softmax
            logits = torch.addmm(log_n, anchors[rows], columns)  # (R, B)
            soft = logits.softmax(1)
            # the largest share, unlike the others, is never too small for its logarithm
            log_sums[rows] = logits.amax(1) - soft.amax(1).log()
            torch.mm(soft, positives, out=to_anchors[rows])
            to_positives.addmm_(soft.T, weighted[rows])
        ctx.save_for_backward(to_anchors.sub_(positives).mul_(shares), to_positives)
        return shares.squeeze(1) @ (log_sums - own)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        to_anchors, to_positives = ctx.saved_tensors
        return gradient * to_anchors, gradient * to_positives, None


def _guarded_bpr(pos_scores, neg_scores, gamma):
    return -torch.log(gamma + torch.sigmoid(pos_scores - neg_scores)).mean()


class BPRLoss(nn.Module):
    """MMRec's -mean log(gamma + sigmoid(pos - neg)), a scalar; scores of any shapes that
    broadcast.
    """

    def __init__(self, gamma: float = 1e-10):
        super().__init__()
        self.gamma = gamma

    def forward(self, pos_score: Tensor, neg_score: Tensor) -> Tensor:
        return _guarded_bpr(pos_score, neg_score, self.gamma)


class EmbLoss(nn.Module):
    """`embedding_norm` in MMRec's form: called with any number of tensors, shape (1,)."""

    def __init__(self, norm: float = 2):
        super().__init__()
        self.norm = norm

    def forward(self, *embeddings: Tensor) -> Tensor:
        return embedding_norm(*embeddings, p=self.norm).reshape(1)


class L2Loss(nn.Module):
    """`l2_penalty` in MMRec's form: called with any number of tensors, shape (1,)."""

    def forward(self, *embeddings: Tensor) -> Tensor:
        return l2_penalty(*embeddings).reshape(1)
