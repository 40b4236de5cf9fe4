"""The base classes every model derives from: MMRec's plugin API, as far as a model sees it."""

import torch
from torch import nn

from ld4mrec.data.features import load_features


class AbstractRecommender(nn.Module):
    """What the host calls on a model; models override calculate_loss and full_sort_predict."""

    def pre_epoch_processing(self):
        """Called before each training epoch, in training mode."""

    def post_epoch_processing(self):
        """Called after each training epoch; what is returned (unless None) is logged."""

    def calculate_loss(self, interaction):
        """Training loss of a batch: a tensor with one element, or a tuple of such (summed by the
        trainer).

        interaction: int64 tensor on the run's device; its form is chosen by the configuration, see
        `ld4mrec.data.batches.TrainDataLoader`. It belongs to the model, which may write into it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define calculate_loss")

    def predict(self, interaction):
        """Scores of given (user, item) pairs; part of the API, never called by the host."""
        raise NotImplementedError(f"{type(self).__name__} does not define predict")

    def full_sort_predict(self, interaction):
        """Scores of all items for a batch of users, (B, I), on the run's device.

        interaction: [users (B,), mask (2, K)]; mask holds (row in the batch, item) of the training
        items. The host masks them by writing into the returned tensor, so it must not be a view of
        model state.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define full_sort_predict")

    def __str__(self):
        trainable = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return f"{super().__str__()}\nTrainable parameters: {trainable:,}"


class GeneralRecommender(AbstractRecommender):
    """A model over U users (rows 0..U-1) and I items (rows 0..I-1), with the data set's item
    features.

    config: the run's configuration, indexed by key. dataloader: the training loader. Sets n_users,
    n_items, batch_size, device; `features`, {modality: (I, F) float32 tensor} in the order text,
    image, others; and MMRec's two names for the first two of its contract, v_feat and t_feat (None
    where the data set has no such file).
    """

    def __init__(self, config, dataloader):
        super().__init__()
        self.USER_ID = config["USER_ID_FIELD"]
        self.ITEM_ID = config["ITEM_ID_FIELD"]
        self.NEG_ITEM_ID = config["NEG_PREFIX"] + self.ITEM_ID
        self.n_users = dataloader.dataset.get_user_num()
        self.n_items = dataloader.dataset.get_item_num()
        self.batch_size = config["train_batch_size"]
        self.device = config["device"]
        self.features, self.v_feat, self.t_feat = {}, None, None
        if config["end2end"] or not config["is_multimodal_model"]:
            return
        loaded = load_features(config, self.n_items)
        on_device = {
            path: torch.from_numpy(rows).to(self.device) for path, rows in loaded.files.items()
        }
        self.features = {name: on_device[path] for name, path in loaded.modalities.items()}
        self.v_feat = on_device.get(loaded.vision)
        self.t_feat = on_device.get(loaded.text)
