"""What the host itself costs, beside what it cannot avoid: start-up, loaders, evaluation, batches.

    python benchmarks/host.py [-d tiktok] [--data_path=data/]

Prints CPU seconds (user and system, one process). "bare" is the work that no host can spare, timed
in the same run: for an evaluation scoring and top-K, for an epoch of batches slicing a shuffled
array.
"""

import numpy as np
import shared
import torch

from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
from ld4mrec.data.interactions import RecDataset
from ld4mrec.evaluation.evaluator import TopKEvaluator
from ld4mrec.training.timing import Clock

REPEATS = 7


class Scorer(torch.nn.Module):
    """Scores from random embeddings of width 64, as a matrix model's."""

    def __init__(self, users, items):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.users = torch.randn(users, 64, generator=generator)
        self.items = torch.randn(items, 64, generator=generator)

    def full_sort_predict(self, interaction):
        return self.users[interaction[0]] @ self.items.T


def cpu(function):
    """Median CPU seconds of a call."""
    clock = Clock("cpu", torch.device("cpu"))
    return shared.median(clock.turns(REPEATS, function, warm_up=0))


def measure(config, splits):
    """(what, CPU seconds of ours, of the bare work or None)."""

    def loaders():
        train = TrainDataLoader(config, splits[0], batch_size=2048, shuffle=True)
        return train, *(EvalDataLoader(config, part, splits[0], 4096) for part in splits[1:])

    train, *evaluated = loaders()
    model, evaluator = Scorer(train.n_users, train.n_items), TopKEvaluator(config)

    def evaluation():
        for loader in evaluated:
            evaluator.evaluate(model, loader)

    def bare_evaluation():
        for loader in evaluated:
            for users, _ in loader:
                torch.topk(model.full_sort_predict([users]), max(config["topk"]), dim=-1)

    def bare_batches():
        order = np.random.default_rng(0).permutation(len(train.users))
        for start in range(0, len(order), 2048):
            part = order[start : start + 2048]
            torch.from_numpy(np.stack([train.users[part], train.items[part]]))

    torch_alone = shared.start_up("import torch")
    return [
        ("import torch", torch_alone, None),
        ("import of main.py", shared.start_up("import main"), None),
        ("imports of a run", shared.start_up("import ld4mrec.search.train"), torch_alone),
        ("reading and splitting", cpu(lambda: RecDataset(config).split()), None),
        ("three loaders", cpu(loaders), None),
        ("validation and test evaluation", cpu(evaluation), cpu(bare_evaluation)),
        ("an epoch of batches with negatives", cpu(lambda: list(train)), cpu(bare_batches)),
    ]


def main():
    parser = shared.parser(__doc__)
    parser.add_argument("-d", "--dataset", default="tiktok")
    parser.add_argument("--data_path", default="data/", help="default: data/")
    options = parser.parse_args()
    keys = {"data_path": options.data_path, "use_neg_sampling": True}
    config = Config("Pop", options.dataset, keys).points()[0]
    splits = RecDataset(config).split()
    rows = measure(config, splits)
    print(f"{splits[0]}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'CPU seconds':36}{'ours':>9}{'bare':>9}{'beyond':>9}{'ratio':>8}")
    for name, ours, bare in rows:
        tail = f"{bare:9.3f}{ours - bare:9.3f}{ours / bare:8.2f}" if bare else ""
        print(f"{name:36}{ours:9.3f}{tail}")


if __name__ == "__main__":
    main()
