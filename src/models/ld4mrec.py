"""LD4MRec: a light diffusion model for multimedia recommendation.

Forward noise on a user's row of the interaction matrix, one network (C-Net) that predicts the clean
row under two conditions, and one pass without noise to recommend. Equation numbers are the paper's,
whose formulas were reconstructed from its text; LD4MRec.yaml names the doubtful readings.
No row of users x items is made to train: catalogue.py. Written for MMRec's plugin API, with files
of common.
"""

import math
from collections import ChainMap
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim.swa_utils import AveragedModel

from common import catalogue, graph
from common.abstract_recommender import GeneralRecommender
from common.diffusion import (
    SCHEDULE,
    GaussianDiffusion,
    ImportanceSampler,
    StepMeanSampler,
    step_code,
)
from common.item_links import KEPT, SparseRows, item_graph, passed_on
from common.options import (
    check_batches_of_users,
    check_choice,
    check_choices,
    check_integer,
    check_integers,
    check_number,
    check_option,
    check_positive,
    is_number,
)
from common.signals import FromHistory, GivenRows, HistorySignals, hide_items

ACTIVATIONS = {"tanh": torch.tanh, "leaky_relu": F.leaky_relu, "relu": F.relu, "gelu": F.gelu}
SAMPLERS = {"mean": StepMeanSampler, "row": ImportanceSampler}
CHOICES = {
    "svd_input": ("raw", "normalized"),
    "item_block": ("paper", "mean", "scaled", "none"),
    "signal_scale": ("global", "column", "none"),
    "feature_norm": (True, False),
    "pg_transform": ("diag", "matrix", "lowrank"),
    "activation": tuple(ACTIVATIONS),
    "output_init": ("zero", "xavier"),
    "loss_reduction": ("sum", "mean"),
    "loss_weight": ("none", "snr"),
    "step_losses": tuple(SAMPLERS),
    "infer_step": ("init_only", "zero"),
    "content_out": (True, False),
    "content_passed": (True, False),
    "history_path": ("text", "vectors", "living"),
    "soft_labels": ("sampled", "expected"),
    "ablation": ("none", "no_pg", "no_cg", "no_sr", "no_net"),
}
VARIANTS = {  # of options that are null
    "full": {
        "negative_weight": 0.03,
        "item_dropout": 0.5,
        "item_graph": 100,
        "content_graph": 10,
        "content_out": True,
        "content_passed": False,
        "history_path": "vectors",
        "average": 0.98,
    },
    "paper": {
        "negative_weight": 1.0,
        "item_dropout": 0.0,
        "item_graph": 0,
        "content_graph": 0,
        "content_out": False,
        "content_passed": False,
        "history_path": "text",
        "average": 0.0,
    },
}
MATRIX_LIMIT = 256  # hidden_size beyond which a matrix per user and modality fills the memory
SCORE_ROWS = 1024  # users scored at a time
PART_SEED = 0  # for the parts of the users, so that all seeds share the cached graphs
NOISE_SEED = 0  # for the noise of inference_steps, so that two evaluations agree


class LD4MRec(GeneralRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        options = with_variant(config)
        check_options(options)
        self.ablation, self.infer_step = config["ablation"], config["infer_step"]
        self.soft_prob, self.soft_gamma = config["soft_prob"], config["soft_gamma"]
        softens = self.ablation != "no_sr" and self.soft_prob > 0 and self.soft_gamma > 0
        expected = config["soft_labels"] == "expected"
        self.softens = softens and not expected  # draws labels
        p, gamma = (self.soft_prob, self.soft_gamma) if softens and expected else (0.0, 0.0)
        self.label_shift, self.label_variance = p * gamma, p * (1 - p) * gamma**2
        self.step_hidden = config["step_hidden"]
        self.item_dropout, self.dropout = options["item_dropout"], config["dropout"]
        self.negative_weight, self.l2_weight = options["negative_weight"], config["l2_weight"]
        self.inference_steps = config["inference_steps"]
        self.mean_loss = config["loss_reduction"] == "mean"
        self.diffusion = GaussianDiffusion(
            *(config[key] for key in SCHEDULE),
            sampler=SAMPLERS[config["step_losses"]],
            weighted="x_0" if config["loss_weight"] == "snr" else None,
        )
        steps = self.diffusion.steps
        check_integer("inference_steps", self.inference_steps, 0, steps)
        codes = step_code(torch.arange(steps + 1), config["step_size"])
        self.register_buffer("codes", codes, persistent=False)  # (T + 1, d_t); row t is e_t

        matrix = graph.binary_csr(dataloader.inter_matrix(form="coo"))
        self.history = graph.HistoryRows(matrix)
        named = {name: x.cpu().numpy() for name, x in self.given_features().items()}
        self.modalities, features = list(named), list(named.values())
        passed = features
        if options["content_passed"]:
            passed = [passed_on(x, config["cache_dir"], name) for name, x in named.items()]
        self.history_signals = HistorySignals(matrix, passed, config)  # Eq. 14-16
        self.features, self.v_feat, self.t_feat = {}, None, None  # the signals are all that is used
        self.user_step = nn.Parameter(torch.empty(self.n_users, config["step_size"]))  # E, eq. 17
        nn.init.xavier_normal_(self.user_step)
        trained = torch.from_numpy(np.diff(matrix.tocsc().indptr) > 0)
        self.register_buffer("trained", trained, persistent=False)  # (I,)
        self.net = CNet(options, self.n_items, self.history_signals.width, features)
        if options["history_path"] != "text":
            self.net.start_from(self.history_signals.vectors)
        # drawn apart from the global generator, which the network's start has
        part = np.random.default_rng(PART_SEED).integers(0, config["graph_parts"], self.n_users)
        self.register_buffer("part", torch.from_numpy(part), persistent=False)  # (U,)
        self.item_graph = item_graph(options, matrix, named, part)
        if self.item_graph is None and self.ablation == "no_net":
            raise ValueError(
                "ablation no_net recommends by the item graphs alone, and there are none; "
                "set item_graph to an integer from 1, as 100"
            )
        self.averaged, self.trains = None, False
        if options["average"]:
            average = moving_average(options["average"])
            self.averaged = AveragedModel(self.net, avg_fn=average).requires_grad_(False)

    @property
    def served(self) -> "CNet":
        """The network that recommends: the average over training's steps, if there is one."""
        return self.net if self.averaged is None else self.averaged.module

    def given_features(self) -> dict[str, Tensor]:
        """{modality: (I, F)} of the host; ValueError for another shape or what is not finite."""
        features = getattr(self, "features", None)
        if features is None:  # MMRec knows these two names only
            features = {"text": self.t_feat, "image": self.v_feat}
        features = {name: x for name, x in features.items() if x is not None}
        for name, x in features.items():
            if x.ndim != 2 or len(x) != self.n_items or not x.isfinite().all():
                raise ValueError(
                    f"{name} features must be finite numbers, one row for each of {self.n_items} "
                    f"items; got shape {tuple(x.shape)}, {int((~x.isfinite()).sum())} not finite"
                )
        return features

    def conditions(self, users: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The users' signals: (B, 2r), and a list of (B, F), one per modality."""
        return self.history_signals(*self.history.bags(users))

    def calculate_loss(self, users):
        """Algorithm 1 for a batch of users (B,)."""
        self.average_weights()
        self.trains = self.training
        owned = self.history.bags(users)
        k, divisor = self.diffusion.draw(len(users))  # table rows: step t is k + 1
        hides = self.item_dropout and self.training
        seen = hide_items(*owned, self.item_dropout) if hides else owned
        code = self.codes[k + 1]
        if self.step_hidden and self.training:
            code = code * (torch.rand(len(code), 1, device=code.device) >= self.step_hidden)
        e = code + self.user_step[users]  # (B, d_t), Eq. 17
        entered = self.enter(self.net, *seen, k)
        h = self.net.hidden(entered, e, *self.history_signals(*seen))  # Eq. 4
        links = self.item_graph
        sums = None if links is None else links(*seen, self.part[users])
        errors = self.errors(h, *owned, sums)  # Eq. 6
        if self.mean_loss:
            errors = errors / self.n_items
        reconstruction = self.diffusion.loss(errors, k, divisor)  # Eq. 8
        if self.l2_weight == 0:
            return reconstruction
        return reconstruction, self.l2_weight * HalfSquares.apply(*self.net.memorizing_weights())

    def average_weights(self) -> None:
        """Add the weights to their moving average, once after each step."""
        if self.averaged is not None and self.trains:
            self.averaged.update_parameters(self.net)
        self.trains = False

    def post_epoch_processing(self):
        self.average_weights()

    def by_rows(self, n: int) -> bool:
        """Whether rows of all items are made for n users: where that is cheaper than Gram matrices,
        whose products have the width's rows where a batch has n, or where dropout asks for rows.
        """
        return n < max(self.net.widths) or (self.dropout > 0 and self.training)

    def enter(
        self,
        net: "CNet",
        items: Tensor,
        begin: Tensor,
        k: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """FC in without bias, x_t W_in (B, d), of histories noised at table rows k (B,), eq. 2."""
        if self.by_rows(len(begin)):
            x = GivenRows(items, begin, self.n_items).dense(begin)  # (B, I)
            x = net.scaled(x, items, begin)
            noised = self.diffusion.q_sample(x, k, generator)
            if self.dropout and self.training:
                noised = F.dropout(noised, self.dropout)
            return noised @ net.item_in
        w = net.item_in
        z = torch.randn(len(k), net.widths[0], generator=generator, dtype=w.dtype, device=w.device)
        noise = z @ catalogue.noise_factor(w).T  # distributed as eps W_in
        kept = self.diffusion.alpha_bar[k].unsqueeze(1)  # (B, 1), float64
        of_row = kept.sqrt().to(w.dtype) * net.enter(items, begin)
        return torch.addcmul(of_row, (1 - kept).sqrt().to(w.dtype), noise)

    def errors(
        self, h: Tensor, items: Tensor, begin: Tensor, sums: SparseRows | None = None
    ) -> Tensor:
        """Eq. 6 for last hidden layers h (B, d_h) and whole histories: (B,).

        sums: of what is seen of the histories, over the item graph; a part of the scores.
        """
        network = h, *self.net.item_out(self.trained)
        way = self.errors_of_rows if self.by_rows(len(begin)) else self.errors_of_sums
        found = way(network, items, begin, sums)
        if self.label_variance:
            n = catalogue.lengths(begin, len(items))
            found = found + self.label_variance * (n + self.negative_weight * (self.n_items - n))
        return found

    def errors_of_rows(self, network: tuple, items: Tensor, begin: Tensor, sums) -> Tensor:
        """By rows of all items."""
        h, weights, bias = network
        x = GivenRows(items, begin, self.n_items).dense(begin)
        scores = torch.addmm(bias, h, weights.T)
        scores = scores if sums is None else scores + sums.dense()
        return RowErrors.apply(scores, self.soft_labels(x), x, self.negative_weight)

    def errors_of_sums(self, network: tuple, items: Tensor, begin: Tensor, sums) -> Tensor:
        """By a Gram matrix and sums over few items."""
        h, weights, bias = network
        owner = graph.owners(begin, len(items))
        bias = bias - self.label_shift  # so that the labels of unclicked items are 0
        labels, moved = self.moved_labels(items, begin, owner)
        y = catalogue.pair_scores(h, weights, bias, owner, items)  # of clicked items, (N,)
        others = catalogue.squared_norms(h, weights, bias)  # of all items, as if none were clicked
        of_moved = catalogue.sums_of_scores(h, weights, bias, *moved)
        if sums is not None:
            y = y + sums.at(owner * self.n_items + items)
            others = others + 2 * sums.times_scores(h, weights, bias) + sums.squares()
            moved_cells = graph.owners(moved[1], len(moved[0])) * self.n_items + moved[0]
            of_moved = of_moved + catalogue.total(sums.at(moved_cells), moved[1])
        n_moved = catalogue.lengths(moved[1], len(moved[0]))
        # (y - gamma)^2 - y^2 of unclicked items that move
        others = others + self.soft_gamma * (self.soft_gamma * n_moved - 2 * of_moved)
        clicked = catalogue.total((y - labels).square() - self.negative_weight * y.square(), begin)
        return torch.add(clicked, others, alpha=self.negative_weight)

    def moved_labels(
        self, items: Tensor, begin: Tensor, owner: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Eq. 7 without rows: labels (N,) of the clicked items, and the unclicked items that move,
        as a batch of histories.
        """
        labels = torch.full((len(items),), 1 - 2 * self.label_shift, device=items.device)
        if not self.softens:
            return labels, (items[:0], torch.zeros_like(begin))
        cells = successes(len(begin) * self.n_items, self.soft_prob, items.device)
        clicked = owner * self.n_items + items  # ascending, as histories are
        place = torch.searchsorted(clicked, cells).clamp(max=max(len(clicked) - 1, 0))
        hit = clicked[place] == cells if len(clicked) else torch.zeros_like(cells, dtype=torch.bool)
        labels[place[hit]] -= self.soft_gamma
        user, item = cells[~hit] // self.n_items, cells[~hit] % self.n_items
        count = torch.bincount(user, minlength=len(begin))
        return labels, (item, count.cumsum(0) - count)

    def soft_labels(self, x: Tensor) -> Tensor:
        """Eq. 7: with probability p an item moves by gamma towards the other label."""
        if not self.softens:
            return x + self.label_shift * (1 - 2 * x) if self.label_shift else x
        soft = x.clone(memory_format=torch.contiguous_format)
        flat, moved = soft.view(-1), successes(x.numel(), self.soft_prob, x.device)
        flat[moved] += self.soft_gamma * (1 - 2 * flat[moved])
        return soft

    @torch.no_grad()
    def full_sort_predict(self, interaction):
        """Algorithm 2: one pass for each user, raw scores; the mask is left to the host.

        With inference_steps the noise is drawn for the batch as a whole: the same users in the same
        batch get the same scores, in another batch others.
        """
        users = interaction[0]
        generator = torch.Generator(users.device).manual_seed(NOISE_SEED)
        scores = self.user_step.new_empty(len(users), self.n_items)  # (B, I)
        net = self.served
        weights, bias = net.item_out()
        for first in range(0, len(users), SCORE_ROWS):
            block = users[first : first + SCORE_ROWS]
            e = self.user_step[block]  # the initial step alone, as said below eq. 17
            if self.infer_step == "zero" or self.inference_steps:
                e = e + self.codes[self.inference_steps]
            owned = self.history.bags(block)
            if self.inference_steps:  # Fig. 3
                k = torch.full_like(block, self.inference_steps - 1)
                entered = self.enter(net, *owned, k, generator)
            else:
                entered = net.enter(*owned)
            h = net.hidden(entered, e, *self.history_signals(*owned))
            target = scores[first : first + SCORE_ROWS]
            # autocast does not reach a product with out=
            torch.addmm(bias, h.to(weights.dtype), weights.T, out=target)
            self.add_sums(target, *owned)
        return scores

    def add_sums(self, scores: Tensor, items: Tensor, begin: Tensor) -> Tensor:
        """Add the histories' sums over the item graph to contiguous scores (B, I), in place."""
        return scores if self.item_graph is None else self.item_graph.add_to(scores, items, begin)

    def step_embeddings(self) -> Tensor:
        """What the network reads as e of each user to recommend without noise, (U, d_t)."""
        e = self.user_step.detach()
        return e + self.codes[0] if self.infer_step == "zero" else e

    def folding_in(self) -> FromHistory:
        """Scores of histories alone, with the mean of the training users' step embeddings.

        How close it comes: docs/serving.md. Raises ValueError with inference_steps.
        """
        if self.inference_steps:
            raise ValueError(
                f"the run has inference_steps = {self.inference_steps}, which draws noise for each "
                "batch of users; new users and exports need a run with inference_steps = 0"
            )
        trained = self.history.start.diff() > 0  # (U,)
        step = self.step_embeddings()[trained].mean(0)
        return FromHistory(self.served, self.history_signals, step)

    def fold_in(self) -> Callable[[graph.HistoryRows, Tensor], Tensor]:
        """score(history, users (B,)) -> (B, I), by rows of histories alone."""
        network = self.folding_in()

        def score(history, users):
            bags = history.bags(users)
            return self.add_sums(network(*bags), *bags)

        return score

    def export_parts(self) -> dict:
        """What to write down to serve, as our host's common/servable.py describes it."""
        files = {
            "network.pt2": FromHistory(self.served, self.history_signals),
            "new_users.pt2": self.folding_in(),
            "step_embeddings.npy": self.step_embeddings(),
        }
        holds = {
            "network.pt2": "scores",
            "new_users.pt2": "scores, folding in",
            "step_embeddings.npy": "(users, d_t)",
        }
        add = []
        if self.item_graph is not None:
            files["item_graph.npz"] = self.item_graph.matrix()
            holds["item_graph.npz"] = "CSR (items, items): row j is what item j adds to the scores"
            add = ["scores += torch.from_numpy((rows @ sp.load_npz('item_graph.npz')).toarray())"]
        return {
            "imports": "numpy as np, scipy.sparse as sp, torch",
            "score": [
                "e = torch.from_numpy(np.load('step_embeddings.npy', mmap_mode='r')[users])",
                "scores = torch.export.load('network.pt2').module()(*bags, e)",
                *add,
            ],
            "new_users": ["scores = torch.export.load('new_users.pt2').module()(*bags)", *add],
            "files": files,
            "tables": {"network.pt2": ["step_embeddings.npy"]},
            "holds": holds,
        }


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A moving average's next value of (value, new one, how many it has), shorter at first."""

    def average(mean, new, n):
        return torch.lerp(new, mean, torch.clamp((1 + n) / (10 + n), max=decay).to(mean.device))

    return average


def with_variant(config: Mapping) -> Mapping:
    """The options, with the variant's values in place of null."""
    check_choice("variant", config["variant"], VARIANTS)
    chosen = VARIANTS[config["variant"]]
    return ChainMap({key: value for key, value in chosen.items() if config[key] is None}, config)


def check_options(config: Mapping) -> None:
    """Raise ValueError for an option outside its values; the process checks its own."""
    check_choices(config, CHOICES)
    check_integers(
        config, svd_rank=1, embedding_size=1, hidden_size=1, pg_rank=1, pg_hidden=1, content_rank=1
    )
    check_integers(config, item_graph=0, content_graph=0, graph_parts=2)
    known = config["item_graph"] < KEPT
    check_option("item_graph", config["item_graph"], f"an integer below {KEPT}", known)
    check_positive("graph_penalty", config["graph_penalty"])
    limits = {
        "graph_strength": 1e3,
        "content_strength": 1e3,
        "average": 0.9999,
        "soft_prob": 1,
        "soft_gamma": 1,
        "item_dropout": 0.99,
        "step_hidden": 1,
        "dropout": 0.99,
    }
    for key, high in limits.items():
        check_number(key, config[key], 0, high)
    l2_weight = config["l2_weight"]
    finite = is_number(l2_weight) and 0 <= l2_weight < math.inf
    check_option("l2_weight", l2_weight, "a number >= 0, not infinite", finite)
    check_number("negative_weight", config["negative_weight"], 1e-6, 1)
    check_batches_of_users(config)
    if config["pg_transform"] == "matrix" and config["hidden_size"] > MATRIX_LIMIT:
        raise ValueError(
            f"pg_transform matrix makes hidden_size^2 numbers for each user and modality and wants "
            f"hidden_size <= {MATRIX_LIMIT}, got {config['hidden_size']}; use diag or lowrank"
        )


class CNet(nn.Module):
    """FC in, two CG blocks each followed by a PG block, FC out: raw scores of all items.

    Without modalities, or by ablation, the PG blocks go, and with each the activation before it.
    """

    def __init__(self, config: Mapping, n_items: int, signal_size: int, features: list[np.ndarray]):
        super().__init__()
        sizes = [x.shape[1] for x in features]
        d, width, step_size = config["embedding_size"], config["hidden_size"], config["step_size"]
        self.widths = d, width
        self.act = ACTIVATIONS[config["activation"]]
        self.item_in = nn.Parameter(torch.empty(n_items, d))  # (I, d), as embedding_bag wants it
        self.bias_in = nn.Parameter(torch.zeros(d))
        nn.init.xavier_normal_(self.item_in)
        self.cg_blocks, self.pg_blocks = nn.ModuleList(), nn.ModuleList()
        for n_in in (d, width):
            if config["ablation"] == "no_cg":
                self.cg_blocks.append(StepBlock(n_in, width, step_size, self.act))
            else:
                self.cg_blocks.append(CGBlock(n_in, width, step_size, self.act, signal_size))
            if config["ablation"] != "no_pg" and sizes:
                self.pg_blocks.append(PGBlock(config, width, sizes))
        self.out = linear(width, n_items)
        if config["output_init"] == "zero":  # scores that nothing was learned for add no noise
            nn.init.zeros_(self.out.weight)
        self.silent = config["ablation"] == "no_net"
        self.unit = config["history_path"] != "text"
        self.held_behavior = config["history_path"] != "living"
        self.register_buffer("one", torch.ones(n_items, 1), persistent=False)
        self.contents = nn.ModuleList()
        if config["content_out"]:
            rank = config["content_rank"]
            self.contents.extend(ContentRows(x, width, rank) for x in features)

    def item_out(self, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """FC out's weights (I, d_h), with what they have of the items' content, and bias (I,).

        kept (I,): the items whose rows stay; the others' are zero. Without content all stay.
        """
        weights, bias = self.out.weight, self.out.bias
        if self.silent:
            return weights * 0, bias * 0
        for content in self.contents:
            weights = weights + content()
        if kept is not None and self.contents:
            return weights * kept.unsqueeze(1), bias * kept
        return weights, bias

    def enter(self, items: Tensor, begin: Tensor) -> Tensor:
        """FC in without bias on clean rows, given as histories: (B, d)."""
        return self.scaled(F.embedding_bag(items, self.item_in, begin, mode="sum"), items, begin)

    def scaled(self, rows: Tensor, items: Tensor, begin: Tensor) -> Tensor:
        """Rows (B, ...) of histories, divided by the histories' lengths where these are to be 1."""
        if not self.unit:
            return rows
        return rows * F.embedding_bag(items, self.one, begin, mode="sum").clamp(min=1) ** -0.5

    @torch.no_grad()
    def start_from(self, vectors: Tensor) -> None:
        """Let FC in start as the leading vectors (I, r) of items, at root mean square 1."""
        chosen = vectors[:, : self.widths[0]]
        self.item_in[:, : chosen.shape[1]] = chosen * len(chosen) ** 0.5

    def hidden(self, entered: Tensor, e: Tensor, c: Tensor, preferences: list[Tensor]) -> Tensor:
        """From FC in's sums (B, d), e (B, d_t), c (B, 2r) and a (B, F) per modality to (B, d_h)."""
        h = self.act(entered + self.bias_in)
        for k, cg in enumerate(self.cg_blocks):
            h = cg(self.act(h) if k else h, e, c)
            if self.pg_blocks:
                h = self.pg_blocks[k](self.act(h), preferences)
        return h

    def forward(
        self, items: Tensor, begin: Tensor, e: Tensor, c: Tensor, preferences: list[Tensor]
    ) -> Tensor:
        """Scores (B, I) of clean histories; the rest as for `hidden`."""
        weights, bias = self.item_out()
        h = self.hidden(self.enter(items, begin), e, c, preferences)
        return torch.addmm(bias, h, weights.T)

    def memorizing_weights(self) -> list[nn.Parameter]:
        """The matrices that l2_weight holds down; gates and biases stay free, as E does.

        C and E identify a user, so free matrices learn the rows by heart; decay on E as well would
        erase the step embedding.
        """
        named = self.named_parameters()
        free = ("gate.weight",)
        free += ("item_in",) if self.unit else ()
        free += () if self.held_behavior else ("behavior.weight",)
        return [w for name, w in named if w.ndim == 2 and not name.endswith(free)]


class ContentRows(nn.Module):
    """X P (I, d_h): what items' rows of FC out have of their features.

    So that items that are rare in training, or not in it, have scores that their content gives.
    X (I, k): the leading principal components of the standardised features (I, F) over sqrt(F).
    """

    def __init__(self, features: np.ndarray, width: int, rank: int):
        super().__init__()
        x = torch.from_numpy(leading_components(features, rank)).float()
        self.register_buffer("x", x, persistent=False)
        self.map = nn.Parameter(torch.zeros(x.shape[1], width))  # P

    def forward(self) -> Tensor:
        return self.x @ self.map


def leading_components(features: np.ndarray, rank: int) -> np.ndarray:
    """Features (I, F) with columns at mean 0 and deviation F^-1/2, turned to their `rank` leading
    principal axes: (I, min(rank, F)) float64. A constant column is 0.
    """
    x = np.asarray(features, dtype=np.float64)
    variance, size = x.var(0), np.square(x).mean(0)
    # what rounding leaves of a constant column is not a spread
    spread = np.sqrt(np.where(variance > 1e-12 * size, variance, np.inf))
    x = (x - x.mean(0)) / spread / math.sqrt(x.shape[1])
    if rank >= x.shape[1]:
        return x
    axes = np.linalg.eigh(x.T @ x)[1]  # (F, F), by ascending variance
    return x @ axes[:, : -rank - 1 : -1]


class StepBlock(nn.Module):
    """A CG block without collaborative signals: eq. 18 alone (the paper's "w/o CG")."""

    def __init__(self, n_in: int, width: int, step_size: int, act: Callable):
        super().__init__()
        self.behavior = linear(n_in + step_size, width)
        self.act = act

    def forward(self, h: Tensor, e: Tensor, c: Tensor) -> Tensor:
        return self.act(self.behavior(torch.cat([h, e], 1)))  # Eq. 18


class CGBlock(StepBlock):
    """Collaboration-aware generation: behavior and collaborative signal, mixed as the step says."""

    def __init__(self, n_in: int, width: int, step_size: int, act: Callable, signal_size: int):
        super().__init__(n_in, width, step_size, act)
        self.collaborative = linear(signal_size, width)
        self.gate = linear(step_size, width)

    def forward(self, h: Tensor, e: Tensor, c: Tensor) -> Tensor:
        h_b = super().forward(h, e, c)  # (B, d_h)
        h_c = self.act(self.collaborative(c))  # Eq. 19
        return torch.lerp(h_c, h_b, self.gate(e).sigmoid())  # Eq. 20: g * h_b + (1 - g) * h_c


class PGBlock(nn.Module):
    """Preference-aware generation: one affine map per modality, LeakyReLU between them."""

    def __init__(self, config: Mapping, width: int, sizes: list[int]):
        super().__init__()
        affine = AFFINES[config["pg_transform"]]
        hidden, rank = config["pg_hidden"], config["pg_rank"]
        self.affines = nn.ModuleList(affine(size, hidden, width, rank) for size in sizes)

    def forward(self, h: Tensor, preferences: list[Tensor]) -> Tensor:
        for k, affine in enumerate(self.affines):
            h = affine(F.leaky_relu(h) if k else h, preferences[k])  # Eq. 22
        return h


class Affine(nn.Module):
    """z' = Gamma_u z + b_u, both predicted from a preference signal m; the identity at first."""

    def __init__(self, n_in: int, hidden: int, width: int, start: Tensor):
        super().__init__()
        self.scale = two_layers(n_in, hidden, start)
        self.shift = two_layers(n_in, hidden, torch.zeros(width))


class DiagonalAffine(Affine):
    """One factor per channel."""

    def __init__(self, n_in: int, hidden: int, width: int, rank: int):
        super().__init__(n_in, hidden, width, torch.ones(width))

    def forward(self, z: Tensor, m: Tensor) -> Tensor:
        return torch.addcmul(self.shift(m), self.scale(m), z)


class MatrixAffine(Affine):
    """A full matrix per user."""

    def __init__(self, n_in: int, hidden: int, width: int, rank: int):
        super().__init__(n_in, hidden, width, torch.eye(width).flatten())

    def forward(self, z: Tensor, m: Tensor) -> Tensor:
        gamma = self.scale(m).view(len(z), z.shape[1], -1)  # (B, d_h, d_h)
        return (z.unsqueeze(1) @ gamma).squeeze(1) + self.shift(m)


class LowRankAffine(Affine):
    """The identity plus P_u Q_u^T of low rank; only Q_u starts at zero, so that both can learn."""

    def __init__(self, n_in: int, hidden: int, width: int, rank: int):
        p = torch.randn(width * rank) / math.sqrt(width)
        super().__init__(n_in, hidden, width, torch.cat([p, torch.zeros_like(p)]))

    def forward(self, z: Tensor, m: Tensor) -> Tensor:
        p, q = self.scale(m).view(len(z), 2, z.shape[1], -1).unbind(1)  # (B, d_h, rank) each
        return z + (z.unsqueeze(1) @ p @ q.mT).squeeze(1) + self.shift(m)


AFFINES = {"diag": DiagonalAffine, "matrix": MatrixAffine, "lowrank": LowRankAffine}


def successes(n: int, chance: float, device: torch.device) -> Tensor:
    """The numbers of those of n trials that succeed, each with a chance in (0, 1]: (K,), ascending.

    Drawn as the gaps between them, which are geometric: far fewer random numbers than trials. (That
    the gaps drawn end before n has a chance below 1e-8.)
    """
    if chance == 1:
        return torch.arange(n, device=device)
    size = math.ceil(n * chance + 10 * math.sqrt(n * chance) + 20)
    gaps = torch.empty(size, dtype=torch.float64, device=device).geometric_(chance)
    found = gaps.clamp_(1, n + 1).long().cumsum(0) - 1  # a tiny chance has gaps beyond int64
    return found[found < n]


class RowErrors(torch.autograd.Function):
    """Squared errors of scores (B, I), summed over each row: (B,); few passes over the rows.

    Those of items that x (B, I) has at 0 count `weight`. The gradient is the scores' alone.
    """

    @staticmethod
    def forward(ctx, scores, labels, x, weight):
        error = scores - labels
        weighted = error
        if weight != 1:
            weighted = torch.addcmul(weight * error, x, error, value=1 - weight)
        ctx.save_for_backward(weighted)
        return (weighted * error).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (weighted,) = ctx.saved_tensors
        return weighted * (2 * gradient).unsqueeze(1), None, None, None


class HalfSquares(torch.autograd.Function):
    """Half the squared norm of all matrices; one pass over each, forward and backward."""

    @staticmethod
    def forward(ctx, *matrices):
        ctx.save_for_backward(*matrices)
        return sum(torch.linalg.vector_norm(w).square() for w in matrices) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return tuple(w * gradient for w in ctx.saved_tensors)


def linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer with Xavier-normal weights and zero bias."""
    layer = nn.Linear(n_in, n_out)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def two_layers(n_in: int, hidden: int, start: Tensor) -> nn.Sequential:
    """An MLP of eq. 21 whose output is the vector `start` until it learns."""
    last = nn.Linear(hidden, len(start))
    nn.init.zeros_(last.weight)
    last.bias.data.copy_(start)
    return nn.Sequential(linear(n_in, hidden), nn.LeakyReLU(), last)
