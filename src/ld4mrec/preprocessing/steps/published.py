"""What the paper prints about its data sets (Table 1), to be put beside our counts."""

from ld4mrec.preprocessing.steps.interactions import Counts

TABLE_1 = {
    "tmall": Counts(13_114, 7_840, 153_352),
    "microlens": Counts(46_420, 14_193, 330_683),
    "hm": Counts(43_529, 16_908, 368_381),
}

NOT_A_10_CORE = (
    'The paper speaks of a "10-core". For Microlens and H&M that cannot be: its own counts are '
    "7.1 and 8.5 interactions per user, and in a 10-core every user has at least 10. Ours is the "
    "iterative 5-core unless --k-core says otherwise."
)
NOT_PUBLISHED = (
    "How the paper drew its part of TMALL and of H&M was never published, so its counts for them "
    "cannot be reproduced. --size paper draws a seeded sample with the same number of users: our "
    "choice, not the paper's."
)
