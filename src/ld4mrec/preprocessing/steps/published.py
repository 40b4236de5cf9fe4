"""What must be said beside the paper's counts."""

from ld4mrec.data.counts import TABLE_1

NOT_A_10_CORE = (
    'The paper speaks of a "10-core". For Microlens and H&M that cannot be: its own counts are '
    f"{TABLE_1['microlens'].average_length:.1f} and {TABLE_1['hm'].average_length:.1f} "
    "interactions per user, and in a 10-core every user has at least 10. Ours is the "
    "iterative 5-core unless --k-core says otherwise."
)
NOT_PUBLISHED = (
    "How the paper drew its part of TMALL and of H&M was never published, so its counts for them "
    "cannot be reproduced. --size paper draws a seeded sample with the same number of users: our "
    "choice, not the paper's."
)
