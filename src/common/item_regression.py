"""The best linear map from a user's items to all items, in closed form: EASE's.

Steck, WWW 2019, arXiv:1905.03375; (1) and (2) below are ours.
"""

import torch
from torch import Tensor


def item_weights(gram: Tensor, penalty: float) -> Tensor:
    """B of G = X^T X, (I, I) float64, diagonal zero; G is overwritten."""
    gram.diagonal().add_(penalty)
    factor = torch.linalg.cholesky(gram, out=gram)
    inverse = torch.cholesky_inverse(factor)  # (1): P = (X^T X + lambda 1)^-1
    weights = inverse.div_(-inverse.diagonal().clone())  # (2): B_ij = -P_ij / P_jj
    weights.fill_diagonal_(0)
    return weights
