"""What third-party models import from MMRec's `utils.utils`; the work is done in the modules
named here.
"""

from common.dense_graph import (
    build_knn_neighbourhood,
    build_knn_normalized_graph,
    build_sim,
    compute_normalized_laplacian,
    get_dense_laplacian,
    get_sparse_laplacian,
)
from utils.early_stopping import dict2str, early_stopping
from utils.local_time import get_local_time
from utils.plugins import get_model, get_trainer
from utils.seeding import init_seed

__all__ = [
    "build_knn_neighbourhood",
    "build_knn_normalized_graph",
    "build_sim",
    "compute_normalized_laplacian",
    "dict2str",
    "early_stopping",
    "get_dense_laplacian",
    "get_local_time",
    "get_model",
    "get_sparse_laplacian",
    "get_trainer",
    "init_seed",
]
