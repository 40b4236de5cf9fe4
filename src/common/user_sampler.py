"""Batches of users for models that learn from users drawn uniformly, not from interactions."""

import torch
from torch import nn

from ld4mrec.errors import DataError


class UserSampler(nn.Module):
    """Batches of uniform users, not of uniform interactions, each with a positive and a negative.

    Users differ from each other unless there are fewer than a batch has rows. The negative is
    uniform over all items the user has not in training. Raises DataError if a user has all items.
    """

    def __init__(self, history):
        super().__init__()
        self.n_items = history.n_items
        start, item = history.start, history.item  # each user's items ascend
        degree = start.diff()
        full = (degree == self.n_items).nonzero()
        if len(full):
            raise DataError(
                f"user {int(full[0])} has all {self.n_items} items, so no negative item can be "
                "drawn; remove such users from the data"
            )
        user = torch.repeat_interleave(torch.arange(len(degree)), degree)
        rank = torch.arange(len(item)) - start[user]
        active = degree.nonzero().squeeze(1)
        # how many items below a user's item are free: ascends over all pairs, user by user
        free_below = user * self.n_items + item - rank
        tables = {"active": active, "start": start, "item": item, "free_below": free_below}
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, n):
        """(users, positives, negatives), (n,) each."""
        size, device = len(self.active), self.start.device
        if n <= size:
            users = self.active[torch.randperm(size, device=device)[:n]]
        else:
            users = self.active[torch.randint(size, (n,), device=device)]
        first, end = self.start[users], self.start[users + 1]
        draw = torch.rand(2, n, dtype=torch.float64, device=device)
        positives = self.item[first + (draw[0] * (end - first)).long()]
        free = (draw[1] * (self.n_items - (end - first))).long()  # the free-th free item
        taken = torch.searchsorted(self.free_below, users * self.n_items + free, right=True) - first
        return users, positives, free + taken
