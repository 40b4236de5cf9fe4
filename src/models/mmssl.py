"""MMSSL: modality features and a graph learned from them, trained against a discriminator.

Wei et al., WWW 2023, arXiv:2302.10632. Equations are numbered here, (1) to (15); they are what the
authors' program (HKUDS/MMSSL) computes, which is not always what the paper says. Departures, the
first three of which change no value:
- its attention over modalities multiplies weights that sum to 1 with one value each, so it is left
  out, and so are its queries and keys (eq. 4); biases before a BatchNorm, which takes them out
  again; and 1e-8 in the degrees;
- the discriminator's first layer is linear (its LeakyReLU has slope 1), so its output for a mixed
  input is mixed from the outputs, a row that occurs twice is multiplied once, its gradient is
  written down (eq. 11), and rows of rank D are multiplied as two thin factors;
- the two forwards of a batch share all but their dropout masks;
- AdamW's decay is applied after the host's step instead of before it, a difference of the order
  learning_rate ** 2, and with the first learning_rate even where that falls;
- an epoch has the host's ceil(N / B) batches of N training pairs, there floor(N / B) + 1: one less
  where B divides N; the pairs themselves are not looked at, users are drawn (UserSampler);
- any number M >= 1 of modalities; without any the model is refused.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.critic import Critic, Similarity
from common.dot_product import DotProductRecommender
from common.graph import HistoryRows, binary_csr
from common.loss import bpr_loss, l2_penalty
from common.modalities import take_features
from common.options import (
    check_choices,
    check_integers,
    check_not_negative,
    check_number,
    check_positive,
)
from common.sparse import csr_of_pairs, sparse_product
from common.user_sampler import UserSampler

EPS = 1e-8  # inside the logarithms
CHOICES = {"variant": ("faithful", "repaired"), "real_rows": ("head", "release")}
NOT_NEGATIVE = (
    *("id_weight", "modal_weight", "cl_rate", "reg_weight", "feat_reg_weight", "adamw_decay"),
    *("ui_pre_scale", "log_log_scale", "gp_rate", "G_rate", "D_lr", "D_weight_decay"),
)


class MMSSL(DotProductRecommender):
    negatives = False

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        check_options(config)
        dim, heads = config["embedding_size"], config["n_heads"]
        self.n_layers, self.dropout, self.tau = config["n_layers"], config["dropout"], config["tau"]
        self.id_weight, self.modal_weight = config["id_weight"], config["modal_weight"]
        self.cl_rate, self.g_rate = config["cl_rate"], config["G_rate"]
        self.reg_weight, self.feat_reg_weight = config["reg_weight"], config["feat_reg_weight"]
        self.ui_pre_scale, self.noise = config["ui_pre_scale"], config["log_log_scale"]
        self.real_tau, self.sharpened = config["real_data_tau"], config["real_rows"] == "release"
        self.decay = 1 - config["learning_rate"] * config["adamw_decay"]
        self.user_emb = nn.Embedding(self.n_users, dim)
        self.item_emb = nn.Embedding(self.n_items, dim)
        self.mix = nn.Parameter(torch.empty(heads * dim, dim))  # W_cat
        features = take_features(self)
        for m, x in enumerate(features.values()):
            self.register_buffer(f"features_{m}", x, persistent=False)
        self.maps = nn.ModuleList(nn.Linear(x.shape[1], dim) for x in features.values())
        for table in (self.user_emb.weight, self.item_emb.weight, self.mix):
            nn.init.xavier_uniform_(table)
        for linear in self.maps:
            nn.init.xavier_uniform_(linear.weight)
        matrix = binary_csr(dataloader.inter_matrix())
        self.history = HistoryRows(matrix)
        self.sampler = UserSampler(self.history)
        pairs = torch.from_numpy(np.stack(matrix.nonzero())).long()  # (2, N)
        self.graph = BipartiteGraph(pairs, matrix.shape)
        self.replace_graphs([pairs] * len(features))
        n_top = int(self.n_items * config["m_topk_rate"])
        collector = TiledEdges if config["variant"] == "faithful" else LatestEdges
        self.collector = collector(
            len(features), self.n_users, n_top, config["graph_period"], self.device
        )
        # no module: neither the host's optimiser nor its weight decay may touch it
        rates = config["D_lr"], config["D_weight_decay"], config["gp_rate"]
        self.critic = Critic(self.n_items, *rates)  # Eq. 11
        self.batch_index, self.decay_pending = 0, False

    def pre_epoch_processing(self):
        self.batch_index = 0

    def post_epoch_processing(self):
        self.decay_once()
        self.replace_graphs(self.collector.after_epoch())

    def forward(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users and all items: (U, D) and (I, D)."""
        return self.with_content(*self.collaborative()[:2], self.projected())[:2]

    def projected(self) -> Tensor:
        """F_m W_m + b_m of all modalities side by side, (I, M D)."""
        maps = enumerate(self.maps)
        return torch.cat([linear(getattr(self, f"features_{m}")) for m, linear in maps], 1)

    def collaborative(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Embeddings before the features are added, (U, D) and (I, D), and pu_m, (U, D) each."""
        e_u, e_i = self.user_emb.weight, self.item_emb.weight
        learned_users = [graph.to_users(e_i) for graph in self.modal_graphs]  # Eq. 3, pu_m
        learned_items = [graph.to_items(e_u) for graph in self.modal_graphs]  # Eq. 3, pi_m
        users = e_u + self.id_weight * F.normalize(self.attention(learned_users))  # Eq. 5
        items = e_i + self.id_weight * F.normalize(self.attention(learned_items))
        user_layers, item_layers = [users], [items]
        for layer in range(1, self.n_layers + 1):
            last = layer == self.n_layers
            users = self.graph.to_users(items)  # Eq. 6
            users = users.softmax(1) if last else users
            items = self.graph.to_items(users)  # of the new users
            items = items.softmax(1) if last else items
            user_layers.append(users)
            item_layers.append(items)
        return mean(user_layers), mean(item_layers), learned_users

    def attention(self, modal: list[Tensor]) -> Tensor:
        """The mean of M modalities (N, D) times the sum of the heads' blocks of W_cat, (N, D)."""
        width = self.mix.shape[1]
        return mean(modal) @ self.mix.view(-1, width, width).sum(0)  # Eq. 4

    def with_content(
        self, users: Tensor, items: Tensor, projected: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Final embeddings (U, D) and (I, D), then xu_m and xi_m of each modality, likewise."""
        content = F.dropout(projected, self.dropout, self.training)  # (I, M D), Eq. 1
        content_users = self.graph.to_users(content)  # (U, M D), Eq. 2
        content_items = self.graph.to_items(content_users)  # (I, M D)
        content_users = content_users.chunk(len(self.maps), 1)
        content_items = content_items.chunk(len(self.maps), 1)
        users = users + self.modal_weight * sum(map(F.normalize, content_users))  # Eq. 7
        items = items + self.modal_weight * sum(map(F.normalize, content_items))
        return users, items, content_users, content_items

    def calculate_loss(self, interaction):
        """The parts of eq. 15. The host's batch only says that it is time for one."""
        self.decay_once()
        users, positives, negatives = self.sampler(self.batch_size)  # (B,) each
        known = self.history.bags(users)
        *without, learned_users = self.collaborative()
        projected = self.projected()
        with torch.no_grad():  # of the parameters as they are, with a dropout mask of its own
            u, i, xu, xi = self.with_content(*without, projected)
            fakes = [Similarity(a[users], b, *known) for a, b in zip(xu, xi, strict=True)]  # Eq. 8
            real = self.real(users, Similarity(u[users], i, *known))
        self.critic.learn(real, fakes)
        u, i, xu, xi = self.with_content(*without, projected)
        fakes = [Similarity(a[users], b, *known) for a, b in zip(xu, xi, strict=True)]
        # seen by the next batch; `without` is of the old graphs
        self.replace_graphs(self.collector.after_batch(self.batch_index, users, fakes))
        self.batch_index += 1
        self.decay_pending = True
        u, p, n = u[users], i[positives], i[negatives]  # (B, D)
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1))  # Eq. 12
        penalty = self.reg_weight * l2_penalty(u, p, n) / self.batch_size  # on the final vectors
        content = self.feat_reg_weight * l2_penalty(*xu, *xi) / self.n_items  # of all, each time
        contrast = sum(user_contrast(x[users], u, self.tau) for x in learned_users)
        adversarial = -self.critic(fakes).mean()  # Eq. 14
        return ranking, penalty, content, self.cl_rate * contrast, self.g_rate * adversarial

    def real(self, users: Tensor, similarity: Similarity) -> Tensor:
        """What the discriminator is to take for real, (B, I)."""
        rows = self.history.dense(users).to(similarity.scores)
        v = torch.rand_like(rows)
        noise = -torch.log(-torch.log(v + EPS) + EPS)  # Gumbel
        if self.sharpened:
            q = ((rows + self.noise * noise) / self.real_tau).softmax(1)  # Eq. 9, first release
        else:
            q = (rows + self.noise / self.real_tau * noise).softmax(1)  # Eq. 9
        return F.normalize(q + self.ui_pre_scale * similarity.dense())  # Eq. 10

    @torch.no_grad()
    def decay_once(self) -> None:
        """AdamW's decay of all parameters; each has a gradient in each step, be it zero."""
        if self.decay_pending:
            for parameter in self.parameters():
                parameter.mul_(self.decay)
        self.decay_pending = False

    def replace_graphs(self, edges: Sequence[Tensor] | Tensor | None) -> None:
        """edges: (M, 2, E), or None for no change."""
        if edges is not None:
            shape, dtype = (self.n_users, self.n_items), self.mix.dtype
            self.modal_graphs = nn.ModuleList(BipartiteGraph(e, shape, dtype) for e in edges)

    def get_extra_state(self):
        return {
            "discriminator": self.critic.network.state_dict(),
            "discriminator_adam": self.critic.adam.state_dict(),
            "edges": [graph.edges for graph in self.modal_graphs],
            "collected": self.collector.collected,
            "batch_index": self.batch_index,
            "decay_pending": self.decay_pending,
        }

    def set_extra_state(self, state):
        self.critic.network.load_state_dict(state["discriminator"])
        self.critic.adam.load_state_dict(state["discriminator_adam"])
        self.replace_graphs([edges.to(self.mix.device) for edges in state["edges"]])
        self.collector.collected = state["collected"].to(self.mix.device)
        self.batch_index, self.decay_pending = state["batch_index"], state["decay_pending"]

    def _apply(self, *args, **kwargs):
        # torch's way to move a model or to change its type
        self.critic.network._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)


class BipartiteGraph(nn.Module):
    """D_u^-1/2 A and D_i^-1/2 A^T, the degrees being sums of rows, so neither's rows sum to 1.

    edges: (2, E) users and items; A (U, I) counts how often each occurs. Without edges there is no
    product, but zeros without a gradient.
    """

    def __init__(self, edges: Tensor, shape: tuple[int, int], dtype: torch.dtype = torch.float32):
        super().__init__()
        self.register_buffer("edges", edges, persistent=False)
        weights = torch.ones(edges.shape[1], dtype=dtype, device=edges.device)
        for name, place, size in (("users", edges, shape), ("items", edges.flip(0), shape[::-1])):
            degree = torch.bincount(place[0], minlength=size[0]).to(dtype)
            scale = degree.clamp(min=1).rsqrt().unsqueeze(1)  # a row without edges is zero anyway
            matrix = csr_of_pairs(place, weights, size)
            self.register_buffer(f"to_{name}_matrix", matrix, persistent=False)
            self.register_buffer(f"to_{name}_scale", scale, persistent=False)

    def to_users(self, x: Tensor) -> Tensor:
        """(I, D) to (U, D)."""
        return self._sums(x, self.to_users_matrix, self.to_items_matrix, self.to_users_scale)

    def to_items(self, x: Tensor) -> Tensor:
        """(U, D) to (I, D)."""
        return self._sums(x, self.to_items_matrix, self.to_users_matrix, self.to_items_scale)

    def _sums(self, x, matrix, transposed, scale):
        if not self.edges.shape[1]:
            return x.new_zeros(len(scale), x.shape[1])
        return scale * sparse_product(matrix, x, transposed)


class TiledEdges:
    """The reference's edges: those since the last batch that built, most with a wrong user.

    collected: (M, 2, E). Of the batch's users a and their items j = 0..k-1, number a k + j goes to
    user (a k + j) mod B. A batch that builds collects nothing; built from nothing, a graph is
    empty until the next batch that builds.
    """

    def __init__(
        self, n_modalities: int, n_users: int, n_top: int, period: int, device: torch.device
    ):
        self.n_top, self.period = n_top, period
        self.collected = torch.empty(n_modalities, 2, 0, dtype=torch.int64, device=device)

    def after_batch(self, index: int, users: Tensor, fakes: list[Similarity]) -> Tensor | None:
        """The new graphs' edges, (M, 2, E), or None; index: of the batch in its epoch."""
        if index > 0 and index % self.period == 0:
            edges, self.collected = self.collected, self.collected[:, :, :0]
            return edges
        items = top_items(fakes, self.n_top).flatten(1)  # (M, B k)
        edges = torch.stack([users.repeat(self.n_top).expand_as(items), items], 1)
        self.collected = torch.cat([self.collected, edges], 2)
        return None

    def after_epoch(self) -> None:
        """No new graphs."""
        return None


class LatestEdges:
    """Each user with the items it had at its last batch, built into graphs after each epoch.

    collected: (M, U, k), -1 for users not drawn so far, who have no edge. With k = 0 the graphs
    stay what they were. Training items, whose score is 0, may be among the k, as in the reference.
    The period has no meaning here.
    """

    def __init__(
        self, n_modalities: int, n_users: int, n_top: int, period: int, device: torch.device
    ):
        self.n_top = n_top
        self.collected = torch.full((n_modalities, n_users, n_top), -1, device=device)

    def after_batch(self, index: int, users: Tensor, fakes: list[Similarity]) -> None:
        """Remember the items of the batch\'s users (B,), of each modality."""
        self.collected[:, users] = top_items(fakes, self.n_top)

    def after_epoch(self) -> Tensor | None:
        """The new graphs' edges, (M, 2, E), or None."""
        if not self.n_top:
            return None
        users = (self.collected[0, :, 0] >= 0).nonzero().squeeze(1)
        items = self.collected[:, users].flatten(1)  # (M, U' k)
        return torch.stack([users.repeat_interleave(self.n_top).expand_as(items), items], 1)


def top_items(fakes: list[Similarity], k: int) -> Tensor:
    """The k items of the largest scores, (M, B, k); dividing by a row's length changes no order."""
    return torch.stack([fake.scores.detach().topk(k).indices for fake in fakes])


def user_contrast(learned: Tensor, final: Tensor, temperature: float) -> Tensor:
    """Eq. 13: -log of a user's share among the batch's users of both kinds, (B, D) each; a scalar.

    Not `loss.info_nce`: the denominator also has the anchor's similarities to the other anchors.
    """
    learned, final = F.normalize(learned), F.normalize(final)
    within = (learned @ learned.T / temperature).exp()  # (B, B)
    across = (learned @ final.T / temperature).exp()
    total = within.sum(1) + across.sum(1) - within.diagonal()
    return -(across.diagonal() / total + EPS).log().mean()


def mean(tensors: Sequence[Tensor]) -> Tensor:
    """Of tensors of one shape."""
    return sum(tensors) / len(tensors)


def check_options(config: Mapping) -> None:
    """Raise ValueError for an option outside its values."""
    check_integers(config, embedding_size=1, n_heads=1, n_layers=1, graph_period=1)
    check_integers(config, train_batch_size=2)  # statistics of a row: none
    check_not_negative(config, *NOT_NEGATIVE)
    check_number("dropout", config["dropout"], 0, 0.99)
    check_number("m_topk_rate", config["m_topk_rate"], 0, 1)
    for key in ("tau", "real_data_tau"):
        check_positive(key, config[key])
    check_choices(config, CHOICES)
