"""SLMRec: LightGCN once per channel, contrast between users and items and between the channels.

Tao et al., Self-Supervised Learning for Multimedia Recommendation, IEEE Transactions on Multimedia
2022. Equations are numbered here, (1) to (7). Computes what MMRec's slmrec.py computes with its
task FAC, the only one that runs there, with these departures:
- degrees have no 1e-8 added (a difference below 1e-7);
- scores are the raw products; there their sigmoid, which in float32 makes ties of large scores;
- batches are pairs; there a negative is drawn for each and ignored;
- the head of a modality that the port dropped, which has no gradient there, does not exist; nor
  does `reg`, an axis of its grid that nothing reads;
- any number M >= 1 of modalities, text last, the others in the data set's order. Two: the port,
  with the first in its image's and the last in its text's place. Three: the authors' image, audio
  and text. One: their path for a data set with images alone. More: like three, with further middle
  heads. Without any the model is refused.
Variant "repaired" scores with the parameters as they are. "faithful" scores with what the last
training batch has computed, one optimiser step earlier, as the reference does; before any training,
where the reference fails, it scores as "repaired".
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.dot_product import DotProductRecommender
from common.loss import info_nce
from common.modalities import take_features
from common.options import check_choice, check_integers, check_not_negative, check_positive
from common.propagation import mean_of_layers
from common.rows import take

VARIANTS = ("faithful", "repaired")


class SLMRec(DotProductRecommender):
    negatives = False

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.n_layers = config["embedding_size"], config["n_layers"]
        self.temperature, self.ssl_temp = config["temp"], config["ssl_temp"]
        self.ssl_alpha, variant = config["ssl_alpha"], config["variant"]
        check_integers(config, embedding_size=2, n_layers=0)  # the last heads are half as wide
        for key in ("temp", "ssl_temp"):
            check_positive(key, config[key])
        check_not_negative(config, "ssl_alpha")
        check_choice("variant", variant, VARIANTS)
        self.stale = variant == "faithful"
        self.last_batch = None  # plain: a run's checkpoints hold it
        self.user_emb = nn.Embedding(self.n_users, dim)
        self.item_emb = nn.Embedding(self.n_items, dim)
        features = take_features(self)
        if "text" in features:
            features["text"] = features.pop("text")  # last
        for m, x in enumerate(features.values()):
            self.register_buffer(f"content_{m}", F.normalize(x), persistent=False)  # (I, F)
        self.maps = nn.ModuleList(nn.Linear(x.shape[1], dim) for x in features.values())
        self.add_heads(dim, len(features))
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter)
        self.add_adjacency(dataloader.inter_matrix())

    def add_heads(self, dim: int, n_modalities: int) -> None:
        """The fusions of all channels, and for each modality a pair of heads of one width."""
        self.user_fusion = nn.Linear(dim * (1 + n_modalities), dim)
        self.item_fusion = nn.Linear(dim * (1 + n_modalities), dim)
        widths = [dim] * max(1, n_modalities - 1) + [dim // 2] * (n_modalities > 1)
        self.modal_heads = nn.ModuleList(nn.Linear(dim, width) for width in widths)
        self.id_heads = nn.ModuleList(nn.Linear(dim, width) for width in widths)
        if n_modalities == 2:  # the authors' middle head, audio's, stays where audio is gone
            self.id_heads[1] = nn.Sequential(nn.Linear(dim, dim), self.id_heads[1])

    def channels(self) -> tuple[Tensor, Tensor]:
        """Propagated IDs and modalities side by side: (U, (1 + M) D) and (I, (1 + M) D)."""
        items = [layer(getattr(self, f"content_{m}")) for m, layer in enumerate(self.maps)]  # Eq. 1
        items = torch.cat([self.item_emb.weight, *items], 1)
        users = self.user_emb.weight.repeat(1, 1 + len(self.maps))  # the same in each channel
        return mean_of_layers(self.adjacency, users, items, self.n_layers)  # Eq. 2

    def fusion_parameters(self) -> tuple[nn.Parameter, ...]:
        return *self.user_fusion.parameters(), *self.item_fusion.parameters()

    def forward(self) -> tuple[Tensor, Tensor]:
        """What scores are products of, (U, D) and (I, D)."""
        channels, parameters = self.last_batch or (self.channels(), self.fusion_parameters())
        return tuple(F.linear(channels[k], *parameters[2 * k : 2 * k + 2]) for k in (0, 1))  # Eq. 3

    def calculate_loss(self, interaction):
        users, items = interaction  # (B,) each
        channels = self.channels()
        if self.stale:
            parameters = [p.detach().clone() for p in self.fusion_parameters()]
            self.last_batch = [h.detach() for h in channels], parameters
        # (B',) distinct items, where each row's is, (B,), and how often each occurs, (B',)
        items, row, counts = items.unique(return_inverse=True, return_counts=True)
        u, p = take(channels[0], users), take(channels[1], items)  # (B, (1 + M) D), (B', (1 + M) D)
        z_u, z_p = self.user_fusion(u), take(self.item_fusion(p), row)  # (B, D), Eq. 3
        # rows of one item that occur twice are negatives of each other, here and in Eq. 6, as there
        main = info_nce(z_u, z_p, self.temperature)  # Eq. 4
        return main + self.ssl_alpha * self.fine_and_coarse(p, counts)  # Eq. 7

    def fine_and_coarse(self, p: Tensor, counts: Tensor | None = None) -> Tensor:
        """The task FAC on the channels of items, (B', (1 + M) D), each of which occurs so often."""
        x, *modal = p.chunk(1 + len(self.maps), 1)  # (B', D) each, IDs first
        loss = 0
        for head, modal_head, h in zip(self.id_heads, self.modal_heads, modal, strict=True):
            x = head(x)  # Eq. 5, each from the one before
            y = modal_head(h)
            loss = loss + info_nce(x, y, self.ssl_temp, cosine=False, counts=counts)  # Eq. 6
        return loss
