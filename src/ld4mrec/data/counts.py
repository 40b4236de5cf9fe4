"""How much a data set holds; the paper's Table 1, the counts that it prints of its data sets."""

from typing import NamedTuple


class Counts(NamedTuple):
    """How many users, items and interactions there are."""

    users: int
    items: int
    interactions: int

    @property
    def density(self) -> float:
        """Share of all pairs that are interactions."""
        return self.interactions / max(1, self.users * self.items)

    @property
    def average_length(self) -> float:
        """Interactions of a user."""
        return self.interactions / max(1, self.users)


SOURCE = "Table 1, section 6.1"  # of Tan et al., which says: "We perform 10-core filtering"
TABLE_1 = {
    "tmall": Counts(13_114, 7_840, 153_352),
    "microlens": Counts(46_420, 14_193, 330_683),
    "hm": Counts(43_529, 16_908, 368_381),
}
PRINTED_DENSITY = {"tmall": 0.00149, "microlens": 0.00050, "hm": 0.00050}  # in percent, 3 decimals
TITLES = {"tmall": "TMALL", "microlens": "Microlens", "hm": "H&M"}
