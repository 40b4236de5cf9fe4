"""DiffMM: a diffusion model per modality draws user-item edges, and a graph model learns on them.

Jiang et al., ACM MM 2024, arXiv:2406.11781. Equations are numbered here, (1) to (14). Computes what
the authors' program computes, with these departures:
- negatives are the host's: drawn for each batch, from the items of the training split only;
- the modalities are summed before the products with the graph (eq. 6), the same since their weights
  sum to 1; the reverse chain runs on hidden layers (common/denoiser.py). Both equal up to rounding;
- any modalities, not only image and text and, on one data set, audio. With one there is no pair of
  views, so `contrast` is "main"; without any the model is refused;
- before the first epoch the drawn graphs have no edges but the self-loops;
- the third kind of projection, meant for a data set that was not released, is left out.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.denoiser import Denoiser, ReverseChain
from common.diffusion import SCHEDULE, GaussianDiffusion
from common.dot_product import DotProductRecommender
from common.graph import HistoryRows, binary_csr, normalized
from common.loss import bpr_loss, l2_penalty
from common.modalities import take_features
from common.options import (
    check_choices,
    check_integer,
    check_integers,
    check_not_negative,
    check_number,
    check_option,
)
from common.propagation import looped
from common.sparse import csr_of_pairs, csr_tensor, sparse_product
from ld4mrec.errors import DivergedError

CHOICES = {"projection": ("matrix", "linear"), "contrast": ("views", "main")}
SLOPE = 0.2  # of the projection's LeakyReLU
ROWS = 64  # whose similarities to all users or items are held at a time


class DiffMM(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        check_options(config, self.n_items)
        dim, self.n_layers = config["embedding_size"], config["n_layers"]
        self.reg_weight, self.ssl_reg = config["reg_weight"], config["ssl_reg"]
        self.temp, self.keep_rate = config["temp"], config["keep_rate"]
        self.ris_lambda, self.ris_adj_lambda = config["ris_lambda"], config["ris_adj_lambda"]
        self.add_embeddings(dim)
        features = list(take_features(self).values())
        self.leaky = config["projection"] == "matrix"
        self.maps = nn.ModuleList(nn.Linear(x.shape[1], dim, bias=not self.leaky) for x in features)
        if self.leaky:
            for layer in self.maps:
                nn.init.xavier_uniform_(layer.weight)
        self.modal_logits = nn.Parameter(torch.full((len(features),), 1 / len(features)))  # omega
        self.to_main = config["contrast"] == "main" or len(features) == 1
        interactions = dataloader.inter_matrix(form="coo")
        self.history = HistoryRows(binary_csr(interactions))
        adjacency = looped_adjacency(interactions)
        self.register_buffer("adjacency", adjacency, persistent=False)
        for m, x in enumerate(features):
            self.register_buffer(f"features_{m}", x, persistent=False)  # F_m
            self.set_drawn(m, drawn_graph(torch.empty(self.n_users, 0).long(), self.n_items))
        self.drawer = Drawer(config, len(features), self.n_items)

    def _apply(self, fn, recurse=True):
        self.drawer.modules._apply(fn)  # moves and converts with the model
        return super()._apply(fn, recurse)

    def get_extra_state(self):
        graphs = [self.drawn(m)[0] for m in range(len(self.maps))]
        parts = [[g.crow_indices(), g.col_indices(), g.values()] for g in graphs]
        return {"drawer": self.drawer.state(), "graphs": parts}

    def set_extra_state(self, state):
        self.drawer.load_state(state["drawer"])
        for m, parts in enumerate(state["graphs"]):
            graph = torch.sparse_csr_tensor(*parts, self.adjacency.shape, check_invariants=True)
            self.set_drawn(m, graph)

    def drawn(self, m: int) -> tuple[Tensor, Tensor]:
        """A_m, the graph drawn for a modality, and its transpose, CSR (U+I, U+I)."""
        return getattr(self, f"drawn_{m}"), getattr(self, f"drawn_{m}_transposed")

    def set_drawn(self, m: int, graph: Tensor) -> None:
        """Put a CSR graph (U+I, U+I) in its place."""
        self.register_buffer(f"drawn_{m}", graph, persistent=False)
        transposed = graph.mT.to_sparse_csr()
        self.register_buffer(f"drawn_{m}_transposed", transposed, persistent=False)

    def pre_epoch_processing(self):
        with torch.no_grad():
            projected, items = self.projected(), self.item_emb.weight.clone()
        self.drawer.train(self.history, projected, items, self.batch_size)
        for m, picks in enumerate(self.drawer.draw(self.history, self.batch_size)):
            self.set_drawn(m, drawn_graph(picks, self.n_items, self.keep_rate))

    def projected(self) -> list[Tensor]:
        """G_m (I, D), one per modality."""
        projected = [layer(getattr(self, f"features_{m}")) for m, layer in enumerate(self.maps)]
        return [F.leaky_relu(g, SLOPE) for g in projected] if self.leaky else projected  # Eq. 4

    def forward(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users and all items: (U, D) and (I, D)."""
        fused = self.fused([F.normalize(g) for g in self.projected()])
        final = self.sum_of_layers(fused) + self.ris_lambda * F.normalize(fused)  # Eq. 9
        return final.split([self.n_users, self.n_items])

    def fused(self, unit: list[Tensor]) -> Tensor:
        """Z (U+I, D), of the projected features' rows at length 1."""
        users, items = self.user_emb.weight, self.item_emb.weight
        weights = self.modal_logits.softmax(0)  # (M,)
        content = sum(w * g for w, g in zip(weights, unit, strict=True))  # (I, D), Eq. 5
        first = sparse_product(self.adjacency, torch.cat([users, content]))
        second = sparse_product(self.adjacency, torch.cat([first[: self.n_users], items]))
        ids = torch.cat([users, items])
        drawn = sum(w * self.hop(m, ids) for m, w in enumerate(weights))
        return first + second + self.ris_adj_lambda * drawn  # Eq. 6

    def hop(self, m: int, x: Tensor) -> Tensor:
        """A_m x for x (U+I, D)."""
        graph, transposed = self.drawn(m)
        return sparse_product(graph, x, transposed)

    def sum_of_layers(self, layer: Tensor) -> Tensor:
        """Layers 0..L over the user-item graph, for one (U+I, D) or several side by side."""
        total = layer
        for _ in range(self.n_layers):
            layer = sparse_product(self.adjacency, layer)  # Eq. 7
            total = total + layer  # Eq. 8
        return total

    def representations(self) -> tuple[Tensor, ...]:
        """The final embeddings and each modality's view, (U+I, D) each."""
        unit = [F.normalize(g) for g in self.projected()]
        fused, users = self.fused(unit), self.user_emb.weight
        hops = [self.hop(m, torch.cat([users, g])) for m, g in enumerate(unit)]
        layers = self.sum_of_layers(torch.cat([fused, *hops], 1)).chunk(len(hops) + 1, 1)
        return layers[0] + self.ris_lambda * F.normalize(fused), *layers[1:]  # Eq. 9, Eq. 10

    def calculate_loss(self, interaction):
        users, positives, negatives = interaction  # (B,) each
        final, *views = self.representations()
        positive_rows, negative_rows = self.n_users + positives, self.n_users + negatives
        u, p, n = final[users], final[positive_rows], final[negative_rows]  # (B, D)
        # a sum over the configured batch size, also where the batch is short
        share = len(users) / self.batch_size
        ranking = share * bpr_loss((u * p).sum(1), (u * n).sum(1))  # Eq. 11
        # whole tables in every batch
        penalty = 2 * l2_penalty(self.user_emb.weight, self.item_emb.weight)  # Eq. 12
        contrast = self.contrast(final, views, users, positives)
        return ranking, self.reg_weight * penalty, self.ssl_reg * contrast  # Eq. 14, their sum

    def contrast(
        self, final: Tensor, views: list[Tensor], users: Tensor, positives: Tensor
    ) -> Tensor:
        """Between the final embeddings and each view, or between all pairs of views."""
        sides = [F.normalize(x).split([self.n_users, self.n_items]) for x in (final, *views)]
        if self.to_main:
            pairs = [(sides[0], side) for side in sides[1:]]
        else:
            pairs = combinations(sides[1:], 2)
        total = 0
        for anchor, other in pairs:
            total = total + info_nce_of_all(anchor[0], other[0], users, self.temp)  # Eq. 13
            total = total + info_nce_of_all(anchor[1], other[1], positives, self.temp)
        return total


class Drawer:
    """A denoiser for each modality, with an optimiser of its own, that pick items for users.

    No module, so the model does not own its parameters: the host's optimiser and weight decay leave
    them alone, and the model hands on devices and checkpoints.
    """

    def __init__(self, config: Mapping, n_modalities: int, n_items: int):
        self.e_loss, self.rebuild_k = config["e_loss"], config["rebuild_k"]
        self.diffusion = GaussianDiffusion(*(config[key] for key in SCHEDULE), weighted="x_0")
        settings = config["dims"], config["time_size"], config["dropout"]
        self.denoisers = nn.ModuleList(
            Denoiser(n_items, self.diffusion.steps, *settings) for _ in range(n_modalities)
        )
        self.modules = nn.ModuleList([self.diffusion, self.denoisers])
        rate = config["learning_rate"]
        self.optimizers = [
            torch.optim.Adam(d.parameters(), rate, fused=True) for d in self.denoisers
        ]

    def state(self) -> dict:
        """What a checkpoint holds of it."""
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        return {"denoisers": self.denoisers.state_dict(), "optimizers": optimizers}

    def load_state(self, state: dict) -> None:
        """Put back what `state` gave."""
        self.denoisers.load_state_dict(state["denoisers"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    @torch.enable_grad()
    def train(
        self, history: HistoryRows, projected: list[Tensor], items: Tensor, batch_size: int
    ) -> None:
        """One pass over all users' rows. projected: G_m (I, D) each, items: E_i (I, D); constants.

        Raises DivergedError if a loss is not finite.
        """
        self.denoisers.train()
        total = items.new_zeros(len(projected))
        for users in torch.randperm(len(history.start) - 1, device=items.device).split(batch_size):
            x = history.dense(users)  # (B, I)
            bags, begin = history.bags(users)
            liked = F.embedding_bag(bags, items, begin, mode="sum")  # (B, D), x E_i
            nets = zip(self.denoisers, self.optimizers, projected, strict=True)
            for m, (net, optimizer, g) in enumerate(nets):
                loss = self.loss(net, x, liked, g)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total[m] += loss.detach()
        if not total.isfinite().all():
            raise DivergedError(
                f"the diffusion loss is not finite: {total.tolist()}, one per modality, summed "
                "over an epoch's batches; lower learning_rate, or look at the features"
            )

    def loss(self, net: Denoiser, x: Tensor, liked: Tensor, g: Tensor) -> Tensor:
        """A denoiser's loss on rows x (B, I), of users who like x E_i (B, D), for G_m (I, D)."""
        t, divisor = self.diffusion.draw(len(x))
        predicted = net(self.diffusion.q_sample(x, t), t)  # (B, I)
        errors = (x - predicted).square().mean(1)  # (B,)
        reconstruction = self.diffusion.loss(errors, t, divisor).to(x.dtype)  # Eq. 1
        return reconstruction + self.e_loss * F.mse_loss(predicted @ g, liked)  # Eq. 2

    @torch.no_grad()
    def draw(self, history: HistoryRows, batch_size: int) -> Iterator[Tensor]:
        """Each user's top items by each denoiser, clicked ones among them: (U, k) per modality."""
        self.denoisers.eval()
        for net in self.denoisers:
            chain = ReverseChain(net, self.diffusion)
            users = torch.arange(len(history.start) - 1, device=history.start.device)
            scores = (chain.from_history(history, some) for some in users.split(batch_size))
            yield torch.cat([x.topk(self.rebuild_k).indices for x in scores])  # Eq. 3


class _LogSumExp(torch.autograd.Function):
    """The sum over b of ln sum_r exp(x_b y_r / temperature), for x (B, D) and y (R, D).

    Its gradient is made along the way, by blocks of rows, so that (B, R) numbers are never stored.
    """

    @staticmethod
    def forward(ctx, x, y, temperature):
        total, x_gradients, y_gradient = x.new_zeros(()), [], torch.zeros_like(y)
        for rows in x.split(ROWS):
            e = (rows @ y.T).div_(temperature)  # (ROWS, R)
            largest = e.amax(1, keepdim=True)
            mass = e.sub_(largest).exp_().sum(1, keepdim=True)
            total += (largest + mass.log()).sum()
            scale = 1 / (mass * temperature)
            x_gradients.append(scale * (e @ y))
            y_gradient.addmm_(e.T, scale * rows)
        ctx.save_for_backward(torch.cat(x_gradients), y_gradient)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return *(gradient * saved for saved in ctx.saved_tensors), None


def info_nce_of_all(anchors: Tensor, others: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """InfoNCE of the anchors (R, D) of some rows (B,) against all others (R, D), a scalar.

    Both are of length 1. The row's own counterpart is the positive and stands in the denominator.
    """
    anchors, positives = anchors[rows], others[rows]  # (B, D)
    log_mass = _LogSumExp.apply(anchors, others, temperature)
    return (log_mass - (anchors * positives).sum() / temperature) / len(rows)


def looped_adjacency(interactions: sp.spmatrix) -> Tensor:
    """D^-1/2 (A + 1) D^-1/2 with the self-loops in the degrees D, CSR (U+I, U+I)."""
    return csr_tensor(normalized(looped(interactions)).astype("float32"))


def drawn_graph(picks: Tensor, n_items: int, keep_rate: float = 1.0) -> Tensor:
    """`looped_adjacency` of edges to picks (U, k), each entry kept with this chance and over it.

    An edge's two directions and the self-loops are dropped one by one.
    """
    n_users, k = picks.shape
    device, n = picks.device, n_users + n_items
    users = torch.arange(n_users, device=device).repeat_interleave(k)
    items, nodes = n_users + picks.flatten(), torch.arange(n, device=device)
    row, column = torch.cat([users, items, nodes]), torch.cat([items, users, nodes])
    degree = torch.bincount(row, minlength=n).double()
    value = (degree[row] * degree[column]).rsqrt().float()
    kept = torch.rand(len(value), device=device) < keep_rate
    return csr_of_pairs(torch.stack([row, column])[:, kept], value[kept] / keep_rate, (n, n))


def check_options(config: Mapping, n_items: int) -> None:
    """Raise ValueError for an option outside its values; network and process check their own."""
    check_integers(config, embedding_size=1, n_layers=0)
    check_integer("rebuild_k", config["rebuild_k"], 1, n_items)
    check_not_negative(config, "reg_weight", "ssl_reg", "e_loss", "ris_lambda", "ris_adj_lambda")
    for key, high in (("temp", float("inf")), ("keep_rate", 1), ("noise_scale", 1)):
        check_number(key, config[key], 0, high)
        check_option(key, config[key], "above 0", config[key] > 0)
    check_choices(config, CHOICES)
