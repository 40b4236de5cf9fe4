"""The matrix products that models cannot do without, as plain torch with nothing around them.

Their shapes come from the configuration and the papers' equations, not from the models' modules, so
that a product too many there shows as time here. LD4MRec's come first (the whole model's: ablations
leave some out), then what other models are made of: each object has `forward` and `backward` and
writes into tensors of its own. benchmarks/models.py says which model needs which.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

AFFINE_OUTPUTS = {  # numbers that eq. 21 predicts as Gamma_u, by pg_transform
    "diag": lambda width, rank: width,
    "lowrank": lambda width, rank: 2 * width * rank,
    "matrix": lambda width, rank: width * width,
}


class Shape(NamedTuple):
    """(B, n_in) times (n_in, n_out). into_input: training needs the gradient of the input too."""

    n_in: int
    n_out: int
    into_input: bool

    @property
    def multiply_adds(self):
        """For one user, forward."""
        return self.n_in * self.n_out


def shapes(config, n_items, signal_size, preference_sizes):
    """LD4MRec's products in order: FC in, those of the two CG and PG blocks, FC out.

    The noised row and the signals c (signal_size) and m (preference_sizes, one per modality) are
    fixed; the step embedding e is learned through E (eq. 17).
    """
    width, step, hidden = config["hidden_size"], config["step_size"], config["pg_hidden"]
    gamma = AFFINE_OUTPUTS[config["pg_transform"]](width, config["pg_rank"])
    shapes = [Shape(n_items, config["embedding_size"], False)]
    for n_in in (config["embedding_size"], width):
        shapes.append(Shape(n_in + step, width, True))  # Eq. 18: h || e
        shapes.append(Shape(signal_size, width, False))  # Eq. 19: c
        shapes.append(Shape(step, width, True))  # Eq. 20: the gate, of e
        for size in preference_sizes:
            for n_out in (gamma, width):  # Eq. 21: Gamma_u and b_u, a perceptron of m each
                shapes += [Shape(size, hidden, False), Shape(hidden, n_out, True)]
    return [*shapes, Shape(width, n_items, True)]


class Product:
    """One shape at work on `rows` users, into tensors that are kept from call to call."""

    def __init__(self, shape, rows, device):
        def tensor(n, m):
            return torch.randn(n, m, device=device)

        n_in, n_out = shape.n_in, shape.n_out
        self.x, self.w = tensor(rows, n_in), tensor(n_out, n_in)
        self.y, self.grad_y = tensor(rows, n_out), tensor(rows, n_out)
        self.grad_w = torch.empty_like(self.w)
        self.grad_x = torch.empty_like(self.x) if shape.into_input else None

    def forward(self):
        torch.mm(self.x, self.w.T, out=self.y)

    def backward(self):
        torch.mm(self.grad_y.T, self.x, out=self.grad_w)
        if self.grad_x is not None:
            torch.mm(self.grad_y, self.w, out=self.grad_x)


class Bags:
    """The shape's product of rows of ones and zeros, as a sum of items' rows; nothing goes back.

    items, begin: the users' items and where each user's begin.
    """

    def __init__(self, shape, items, begin, device):
        self.items, self.begin = items, begin
        self.item_rows = torch.randn(shape.n_in, shape.n_out, device=device)

    def forward(self):
        self.out = F.embedding_bag(self.items, self.item_rows, self.begin, mode="sum")


class Rows:
    """n rows of a table (N, D), and a gradient for the table, zero but in those rows."""

    def __init__(self, size, width, n, device):
        self.table = torch.randn(size, width, device=device)
        self.rows = torch.randint(size, (n,), device=device)
        self.grad = torch.randn(n, width, device=device)

    def forward(self):
        self.out = self.table.index_select(0, self.rows)

    def backward(self):
        self.grad_table = torch.zeros_like(self.table).index_add_(0, self.rows, self.grad)


class Sparse:
    """A fixed sparse CSR matrix (N, M) times (M, D); back, its transpose (None: it is symmetric).

    On the CPU the faster of torch's two ways: a sum of weighted rows, not the product of CSR
    matrices.
    """

    def __init__(self, matrix, width, transposed=None):
        self.matrices = matrix, matrix if transposed is None else transposed
        self.x, self.grad = (torch.randn(m.shape[1], width, device=m.device) for m in self.matrices)

    def forward(self):
        self.out = weighted_rows(self.matrices[0], self.x)

    def backward(self):
        self.grad_x = weighted_rows(self.matrices[1], self.grad)


def weighted_rows(matrix, x):
    if matrix.device.type != "cpu":
        return matrix @ x
    places = matrix.col_indices(), x, matrix.crow_indices()
    weights = matrix.values()
    return F.embedding_bag(
        *places, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class Neighbours:
    """The k largest of each row of X X^T, X (N, D), block by block; nothing goes back."""

    def __init__(self, size, width, k, device, rows=256):
        self.x, self.k, self.rows = torch.randn(size, width, device=device), k, rows

    def forward(self):
        for some in self.x.split(self.rows):
            self.out = (some @ self.x.T).topk(self.k)


class Products:
    """Products one after the other, forward, and back where a step wants gradients.

    No optimiser, noise, loss, activation or penalty. times: all of it so often, rounded.
    """

    def __init__(self, products, gradients=True, times=1):
        self.products, self.gradients, self.times = products, gradients, max(1, round(times))

    def forward(self):
        for product in self.products * self.times:
            product.forward()

    def backward(self):
        if self.gradients:
            for product in self.products[::-1] * self.times:
                product.backward()

    def __call__(self):
        self.forward()
        self.backward()
