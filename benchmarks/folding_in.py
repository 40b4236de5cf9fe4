"""How close LD4MRec's scores from a history alone come to those of users it was trained on.

    python benchmarks/folding_in.py RUN [RUN ...] [--data_path FOLDER]
        finished runs: each training user's own history, folded in, beside that user's own scores
    python benchmarks/folding_in.py -d tmall_sample [--data_path FOLDER] [--seeds 1,2,3]
        [--key=value of the model ...]
        a fifth of the users is taken out of the data, the model trained on the others, and the
        fifth recommended to from their training histories; run folders and data in --work

Recall@20 on the test split, training items left out. "shared": how many of a user's 20 best items
are the same. "correlation": of the scores of all items, mean over users.
"""

import statistics
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import shared
import torch

from common.graph import HistoryRows, binary_csr
from ld4mrec.config.configuration import Config
from ld4mrec.config.words import parse_overrides
from ld4mrec.data.features import data_folder, modality_files
from ld4mrec.evaluation.evaluator import MASKED
from ld4mrec.search.train import run
from ld4mrec.serving.ranking import known_part
from ld4mrec.serving.trained import find_run, open_run
from ld4mrec.terminal import quiet

K = 20
BATCH = 1024  # users
HELD_OUT = 0.2  # share of the users
# the user's vector u of a new user: as it is done, as the formula alone has it, and without it
LENGTHS = {"at most 1": 1.0, "as it comes": np.inf, "left out": 1e-9}


def top(scores, histories):
    scores[histories.toarray() > 0] = MASKED
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]


def recall(items, relevant):
    """Mean over the users that have relevant items (CSR)."""
    wanted = np.asarray(relevant.sum(1)).ravel()
    hits = np.take_along_axis(relevant.toarray(), items, axis=1).sum(1)
    return (hits[wanted > 0] / wanted[wanted > 0]).mean()


def in_batches(score, histories):
    """Scores of all rows, (N, I)."""
    rows = HistoryRows(histories)
    users = torch.arange(histories.shape[0]).split(BATCH)
    return np.concatenate([score(rows, batch).numpy() for batch in users])


def own_histories(name, keys):
    """One line on a finished run."""
    trained = open_run(find_run(name), keys)
    with_rows = np.flatnonzero(np.diff(trained.train.indptr))
    train, test = trained.train[with_rows], trained.splits[2][with_rows]
    users = torch.from_numpy(with_rows)
    predict = trained.model.full_sort_predict
    own = in_batches(lambda _, batch: predict([users[batch], None]), train)
    new = in_batches(trained.model.fold_in(), train)
    centred = [x - x.mean(1, keepdims=True) for x in (own, new)]
    length = [np.linalg.norm(x, axis=1) for x in centred]
    correlation = np.mean((centred[0] * centred[1]).sum(1) / (length[0] * length[1]))
    lists = top(own, train), top(new, train)
    shared = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(*lists, strict=True)])
    return (
        f"{trained.run.folder.id}: {len(users)} users, {shared:.1%} shared, correlation "
        f"{correlation:.5f}, Recall@{K} {recall(lists[0], test):.4f} own, "
        f"{recall(lists[1], test):.4f} folded in"
    )


def take_out(config, folder, seed):
    """Write the data set without a share of its users; their (training, test) rows as CSR."""
    rows = pd.read_csv(data_folder(config) / f"{config['dataset']}.inter", sep="\t")
    n_users = rows.userID.max() + 1
    held = np.zeros(n_users, dtype=bool)
    held[np.random.default_rng(seed).permutation(n_users)[: int(HELD_OUT * n_users)]] = True
    stay, gone = rows[~held[rows.userID]], rows[held[rows.userID]]
    items, item = np.unique(stay.itemID, return_inverse=True)
    folder.mkdir(parents=True)
    kept = stay.assign(userID=np.unique(stay.userID, return_inverse=True)[1], itemID=item)
    kept.to_csv(folder / f"{folder.name}.inter", sep="\t", index=False)
    for name, path in modality_files(config).items():
        np.save(folder / f"{name}_feat.npy", np.load(path, allow_pickle=False)[items])
    gone = gone[np.isin(gone.itemID, items)]
    users, user = np.unique(gone.userID, return_inverse=True)
    place, label = np.searchsorted(items, gone.itemID), gone.x_label.to_numpy()
    shape = (len(users), len(items))
    return [
        binary_csr(sp.coo_matrix((np.ones(m.sum()), (user[m], place[m])), shape=shape))
        for m in (label == 0, label == 2)
    ]


def new_users(config, keys, seed, work):
    """{what: Recall@20} of users who were taken out."""
    name = f"without_{seed}"
    histories, test = take_out(config, work / "data" / name, seed)
    paths = {"data_path": f"{work / 'data'}/", "runs_dir": str(work / "runs"), "cache_dir": None}
    with quiet():
        (finished,) = run("LD4MRec", name, keys | paths | {"seed": seed})
    trained = open_run(finished.folder.path)
    histories = known_part(histories, trained.train)
    served = np.flatnonzero(np.diff(histories.indptr))
    histories, test = histories[served], test[served]
    fold_in, signals = trained.model.fold_in(), trained.model.history_signals
    found = {"training users, own scores": finished.result["test"][f"recall@{K}"]}
    for what, signals.longest in LENGTHS.items():
        scores = in_batches(fold_in, histories)
        found[f"new users, u {what}"] = recall(top(scores, histories), test)
    del signals.longest  # the model's own: as its class has it
    popular = np.tile(np.asarray(trained.train.sum(0)), (len(served), 1))
    found["new users, popularity"] = recall(top(popular, histories), test)
    return found


def main():
    parser = shared.parser(__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("-d", "--dataset")
    parser.add_argument("--data_path")
    shared.seeds_argument(parser)
    parser.add_argument("--work", type=Path, help="default: a temporary folder")
    options, words = parser.parse_known_args()
    keys = {"data_path": options.data_path} if options.data_path else {}
    for name in options.runs:
        print(own_histories(name, keys | {"cache_dir": None}), flush=True)
    if not options.dataset:
        return
    config = Config("LD4MRec", options.dataset, keys)
    given = {"threads": 1} | parse_overrides(words)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        found = [new_users(config, given, seed, work) for seed in options.seeds]
    for what in found[0]:
        values = [recalls[what] for recalls in found]
        each = ", ".join(f"{value:.4f}" for value in values)
        print(f"{what:30} {statistics.mean(values):.4f}  ({each})")


if __name__ == "__main__":
    main()
