"""Item features as models take them: which there are, and trainable tables of them."""

from torch import nn

from common.rows import take
from ld4mrec.errors import DataError


def take_features(model):
    """{modality: (I, F) tensor} of a model, which no longer holds them: it keeps its own form.

    Raises DataError if there is none.
    """
    features = dict(model.features)
    if not features:
        name = type(model).__name__
        raise DataError(
            f"{name} wants item features of at least one modality, got none; name the feature "
            "files as modalities in the data set's yaml, or take a model without features, such "
            "as LightGCN"
        )
    model.features, model.v_feat, model.t_feat = {}, None, None
    return features


class FeatureTables(nn.Module):
    """Raw features as trainable tables (I, F), one per modality, each with a linear map to (D,)."""

    def __init__(self, features, dim):
        super().__init__()
        tables = features.values()
        self.tables = nn.ParameterList(nn.Parameter(x.clone()) for x in tables)
        self.maps = nn.ModuleList(nn.Linear(x.shape[1], dim, device=x.device) for x in tables)

    def forward(self):
        """(I, D) of each modality."""
        return [linear(table) for table, linear in zip(self.tables, self.maps, strict=True)]

    def rows(self, items):
        """(B, D) of each modality, of these items alone; the others' gradients are zero."""
        pairs = zip(self.tables, self.maps, strict=True)
        return [linear(take(table, items)) for table, linear in pairs]
