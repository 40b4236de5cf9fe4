"""MMRec's `utils.utils`, for plugins."""
# ruff: noqa: F401

from common.dense_graph import (
    build_knn_neighbourhood,
    build_knn_normalized_graph,
    build_sim,
    compute_normalized_laplacian,
    get_dense_laplacian,
    get_sparse_laplacian,
)
from ld4mrec.plugins.sources import get_model, get_trainer
from ld4mrec.terminal import dict2str, get_local_time
from ld4mrec.training.patience import early_stopping
from ld4mrec.training.randomness import init_seed
