"""The products that each model of src/models cannot do without, for benchmarks/models.py.

One function per model, a few lines: it names the products of a training step, of the opening of an
epoch and of the vectors that scores are made of, with what `Parts` offers. It reads sizes and fixed
matrices off the model and the sizes of a batch; how the model itself goes about it plays no part.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import bare


@dataclass
class Costs:
    """Bare products: of a step, of an epoch's opening besides, of all vectors in an evaluation."""

    step: list
    opening: list = field(default_factory=list)
    vectors: list = field(default_factory=list)


class Parts:
    """Sizes, and products of these sizes. batch: one of the loader, for the numbers of distinct
    users, positives and items (positives and negatives).
    """

    def __init__(self, model, config, batch):
        self.model, self.config, self.device = model, config, config["device"]
        self.n_users, self.n_items = model.n_users, model.n_items
        self.nodes = model.n_users + model.n_items
        self.dim = model.user_emb.embedding_dim if hasattr(model, "user_emb") else None
        self.batch = batch.shape[-1]
        rows = batch.view(-1, self.batch)
        self.users, self.positives, self.items = (
            len(ids.unique()) for ids in (rows[:1], rows[1:2], rows[1:])
        )

    def dense(self, n_in, n_out, rows, into_input=True):
        return bare.Product(bare.Shape(n_in, n_out, into_input), rows, self.device)

    def rows(self, size, n, width=None):
        return bare.Rows(size, width or self.dim, n, self.device)

    def logits(self, n, width=None):
        """InfoNCE's similarities of n rows and n others."""
        return self.dense(width or self.dim, n, n)

    def layers(self, n, width=None):
        """Layers of a symmetric user-item graph."""
        return [bare.Sparse(self.model.adjacency, width or self.dim)] * n


def bpr(c):
    return Costs([c.rows(c.n_users, c.batch), c.rows(c.n_items, 2 * c.batch)])


def vbpr(c):
    width = c.model.content.shape[1]
    tables = [c.rows(c.n_users, c.batch, 2 * c.dim), c.rows(c.n_items, c.items)]
    tables.append(bare.Products([c.rows(c.n_items, c.items, width)], gradients=False))
    projected = [c.dense(width, c.dim, n, False) for n in (c.items, c.n_items)]
    return Costs(
        [*tables, projected[0], c.rows(c.items, 2 * c.batch, 2 * c.dim)], [], projected[1:]
    )


def lightgcn(c):
    layers = c.layers(c.config["n_layers"])
    return Costs([*layers, c.rows(c.nodes, 3 * c.batch)], [], layers)


def simgcl(c):
    depth = c.config["n_layers"]
    disturbed = bare.Products(c.layers(2 * (depth - 1)), gradients=False)
    contrast = [c.logits(c.users), c.logits(c.positives)]
    ranking = c.rows(c.nodes, 3 * c.batch)
    return Costs([*c.layers(depth), disturbed, ranking, *contrast], [], c.layers(depth))


def bm3(c):
    layers = c.layers(c.config["n_layers"])
    widths = [table.shape[1] for table in c.model.modal.tables]
    rows = [c.rows(c.n_items, c.positives, width) for width in (c.dim, *widths)]
    rows.append(c.rows(c.n_users, c.users))
    maps = [c.dense(width, c.dim, c.positives) for width in widths]
    predicted = c.users + c.positives * (1 + len(maps))
    step = [*layers, *rows, *maps, c.dense(c.dim, c.dim, predicted)]
    return Costs(step, [], [*layers, c.dense(c.dim, c.dim, c.nodes)])


def mgcn(c):
    model, graphs = c.model, []
    widths = [table.shape[1] for table in model.modal.tables]
    for m, width in enumerate(widths):
        knn = getattr(model, f"knn_{m}"), getattr(model, f"knn_{m}_transposed")
        graphs.append(c.dense(width, c.dim, c.n_items))
        graphs += [bare.Sparse(knn[0], c.dim, knn[1])] * c.config["n_layers"]
    graphs.append(bare.Sparse(model.user_item, len(widths) * c.dim, model.item_user))
    graphs += c.layers(c.config["n_ui_layers"])

    def gates(n):  # the attention and the preference gate of each modality
        return [c.dense(c.dim, c.dim, n)] * (2 * len(widths))

    needed = c.users + c.positives + c.batch
    rows = [c.rows(c.nodes, needed, (1 + len(widths)) * c.dim)]
    contrast = [c.logits(c.users), c.logits(c.positives)]
    return Costs([*graphs, *rows, *gates(needed), *contrast], [], [*graphs, *gates(c.nodes)])


def lattice(c):
    model, width = c.model, c.config["feat_embed_dim"]
    graph = [bare.Sparse(model.graph, c.dim, model.graph_transposed)] * c.config["n_layers"]
    if c.config["cf_model"] == "lightgcn":
        adjacency = bare.Sparse(model.adjacency, c.dim, model.adjacency_transposed)
        graph += [adjacency] * c.config["n_ui_layers"]
    built = []
    for x in model.modal.tables:
        built.append(c.dense(x.shape[1], width, c.n_items))
        nearest = bare.Neighbours(c.n_items, width, c.config["knn_k"], c.device)
        built.append(bare.Products([nearest], gradients=False))
    rows = c.rows(c.n_users, c.batch), c.rows(c.n_items, 2 * c.batch)
    return Costs([*graph, *rows], built, [*graph, *built])


def freedom(c):
    model, depth = c.model, c.config["n_ui_layers"]
    widths = [table.shape[1] for table in model.modal.tables]
    items = [bare.Sparse(model.item_graph, c.dim, model.item_graph_transposed)]
    items *= c.config["n_layers"]
    rows = [c.rows(c.n_users, c.batch), c.rows(c.n_items, 2 * c.batch)]
    rows += [c.rows(c.n_items, c.items, width) for width in widths]
    maps = [c.dense(width, c.dim, c.items) for width in widths]
    pruned = [bare.Sparse(model.pruned, c.dim)] * depth
    return Costs([*pruned, *items, *rows, *maps], [], [*c.layers(depth), *items])


def slmrec(c):
    model = c.model
    width = (1 + len(model.maps)) * c.dim  # of all channels
    maps = [c.dense(layer.in_features, c.dim, c.n_items, False) for layer in model.maps]
    shared = [*maps, *c.layers(c.config["n_layers"], width)]
    rows = c.rows(c.n_users, c.batch, width), c.rows(c.n_items, c.positives, width)
    heads = [
        x for x in (*model.id_heads.modules(), *model.modal_heads) if hasattr(x, "in_features")
    ]
    small = [c.dense(x.in_features, x.out_features, c.positives) for x in heads]
    small += [c.dense(width, c.dim, n) for n in (c.batch, c.positives)]
    contrast = [c.logits(c.positives, head.out_features) for head in model.modal_heads]
    fusion = c.dense(width, c.dim, c.nodes)
    return Costs([*shared, *rows, *small, c.logits(c.batch), *contrast], [], [*shared, fusion])


def denoiser(c, users):
    """DiffRec's network on the rows of so many users."""
    decoder = c.config["dims"]
    inside = [c.dense(a, b, users) for a, b in pairwise([*decoder[::-1], *decoder[1:]])]
    ends = c.dense(c.n_items, decoder[-1], users, False), c.dense(decoder[-1], c.n_items, users)
    return [ends[0], *inside, ends[1]]


def diffrec(c):
    return Costs(denoiser(c, c.batch))


def diffmm(c):
    model, size = c.model, c.config["train_batch_size"]
    n_modal, depth = len(model.maps), c.config["n_layers"]
    maps = [c.dense(layer.in_features, c.dim, c.n_items, False) for layer in model.maps]
    drawn = [bare.Sparse(graph, c.dim, back) for graph, back in map(model.drawn, range(n_modal))]
    fused = [*maps, *c.layers(2), *drawn]
    views = [*drawn, *c.layers(depth, (1 + n_modal) * c.dim)]
    pairs = n_modal if model.to_main else n_modal * (n_modal - 1) // 2
    # each row of a batch against all users or all items, by blocks
    blocks = [c.dense(c.dim, n, 256) for n in (c.n_users, c.n_items)]
    contrast = [bare.Products([block], times=pairs * c.batch / 256) for block in blocks]
    learn = [*denoiser(c, size), c.dense(c.n_items, c.dim, size)]  # and x E_i of eq. 2
    often = n_modal * c.n_users / size
    opening = [bare.Products([x], times=often) for x in learn]
    decoded = c.dense(c.config["dims"][-1], c.n_items, size)  # the drawing
    opening.append(bare.Products([decoded], gradients=False, times=often))
    step = [*fused, *views, c.rows(c.nodes, 3 * c.batch), *contrast]
    return Costs(step, opening, [*fused, *c.layers(depth)])


def mmssl(c):
    model, size = c.model, c.config["train_batch_size"]
    wide, n_modal = max(c.n_items // 4, 1), len(model.maps)
    maps = [c.dense(layer.in_features, c.dim, c.n_items, False) for layer in model.maps]
    graph = model.graph.to_users_matrix, model.graph.to_items_matrix
    ids = [bare.Sparse(graph[k], c.dim, graph[1 - k]) for k in (0, 1)]  # to users, to items
    content = [bare.Sparse(graph[k], n_modal * c.dim, graph[1 - k]) for k in (0, 1)]
    vectors = [*maps, *content, *ids * c.config["n_layers"]]
    similar = [c.dense(c.dim, c.n_items, size)] * (2 * n_modal + 1)  # rows of scores
    thin = [c.dense(c.n_items, wide, c.dim)] * (2 * n_modal)  # fake rows by the first layer
    real = c.dense(c.n_items, wide, size, False)
    slope = c.dense(wide, c.n_items, n_modal * size)  # the penalty's gradient of the input
    # fake, real, mixed and again for the penalty's second gradient, then the generator's
    rest = [c.dense(wide, max(c.n_items // 8, 1), n_modal * size)] * 5
    contrast = [c.logits(size)] * (2 * n_modal)
    return Costs([*vectors, *content, *similar, *thin, real, slope, *rest, *contrast], [], vectors)


COSTS = {
    "BPR": bpr,
    "VBPR": vbpr,
    "LightGCN": lightgcn,
    "SimGCL": simgcl,
    "BM3": bm3,
    "MGCN": mgcn,
    "LATTICE": lattice,
    "FREEDOM": freedom,
    "SLMRec": slmrec,
    "DiffRec": diffrec,
    "DiffMM": diffmm,
    "MMSSL": mmssl,
}
