"""`--check-plugin`: clean for what works, and each check fails where it should."""

import importlib.util
import re
import sys
import textwrap
from importlib.machinery import PathFinder

import numpy as np
import pytest
import torch

import support
from ld4mrec.commands import train as main
from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import TrainDataLoader
from ld4mrec.errors import ConfigError
from ld4mrec.plugins import sources, usage
from ld4mrec.plugins.check.check import CHECKS, check_plugin
from ld4mrec.plugins.check.scores import close
from ld4mrec.runs import folder as run_folder

PLUGINS = support.ROOT / "tests" / "plugins" / "theirs"
CONFORMANCE = {source.name: source for source in sources.find_plugins(PLUGINS)}
NEEDS = {"PygRouting": "torch_geometric", "SelfSup": "sklearn"}
TRAINED = {"constructs", "loss", "short batch", "trains", "scores", "reloads", "repeats"}
TRAINED |= {"resumes", "mirror gradient", "files", "pre-epoch hook", "post-epoch hook"}
# What the report must say of a plugin: {what it uses: words in it}, and what was done for it.
SAID = {
    "CachedPref": {"batches": "written into", "config, None": "never_declared_key"},
    "Caches": {"config": "data_path, dataset, knn_k", "loader": "history_items_per_u"},
    "ConfigGames": {"config set": "embedding_size, mine", "config object": "final_config_dict"},
    "EpochCover": {"loader": "all_items_set"},
    "FewPairs": {"batches": r"\(2, 32\): user, positive", "hooks": "pre_.*, post_"},
    "GraphMF": {"config, None": "degree_ratio", "config": "embedding_size, n_layers, reg_weight"},
    "HookModes": {"hooks": "pre_.*, post_"},
    "ItemKNNGraph": {"loss": "a tuple of 2", "base class": "t_feat, v_feat"},
    "KeepsLoader": {"base class": r"batch_size \(assigned\)", "data set": "config"},
    "LoaderTour": {"loader": "len.*step.*dataset_bk.*all_uids", "data set": r"\[i\].*inter_num"},
    "NeighbourLoss": {"batches": r"\(5, 32\)", "loader": "item_item_dict.*user_user_dict"},
    "PrunedGraph": {"config, None": "cf_model, degree_ratio", "imports": r"L2Loss\); utils.utils"},
    "SelfSup": {"config, None": "data.input.dataset", "batches": r"\(2, 32\)"},
    "Tuned": {"optimiser": "RMSprop, learning rate 0.01"},
    "UserRows": {"batches": r"\(32,\): user"},
}
SHIMMED = {
    "CachedPref": "a tensor assigned over the parameter preference",
    "Caches": "torch.load without map_location",
    "GraphMF": r"dok_matrix._update.*np.float",
    "ItemKNNGraph": "models.common.*np.int",
    "NeighbourSample": "np.object.*random.sample of a set",
    "OldNumbers": "np.in1d.*dok_array._update",
    "PygRouting": "a tensor assigned over the parameter result_embed",
}
NOTES = {
    "CachedPref": {"untrained scores"},
    "HyperGumbel": {"scores are random"},
    "SelfSup": {"untrained scores"},
    "VariationalBeta": {"parameters", "untrained scores"},
}


@pytest.fixture(autouse=True)
def without_versions(monkeypatch):
    """Versions and git commits are no matter here, and take time."""
    monkeypatch.setattr(run_folder, "environment", lambda config: {})


def rows(report, outcome):
    return {row.name for row in report.rows if row.outcome == outcome}


def text_of(report, name):
    (row,) = [row for row in report.rows if row.name == name]
    return row.text


@pytest.fixture
def checked(tmp_path):
    """A function that writes a plugin of these lines and checks it."""

    def check(body, yaml="is_multimodal_model: False\n", **options):
        file = tmp_path / "models" / "mine.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(HEAD + textwrap.indent(textwrap.dedent(body), "    "))
        (tmp_path / "models" / "Mine.yaml").write_text(yaml)
        options["overrides"] = {"epochs": 2} | options.get("overrides", {})
        return check_plugin(sources.find_model("Mine", file), speed=False, **options)

    return check


def every_other(names):
    """Parameters of which every second is left to the slow tests: each takes a second or two."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] * (place % 2))
        for place, name in enumerate(names)
    ]


@pytest.mark.parametrize("epochs", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", every_other(CONFORMANCE))
def test_a_conformance_plugin_is_clean(name, epochs):
    needed = NEEDS.get(name)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{name} imports {needed}, which is not installed (extra: plugins)")
    before = {path: path.stat().st_mtime_ns for path in PLUGINS.iterdir()}
    report = check_plugin(CONFORMANCE[name], overrides={"epochs": epochs}, speed=False)
    assert report.clean, report.text(in_full=True)
    assert not report.untried
    tried = rows(report, "ok")
    if name == "ContentKNN":
        assert tried >= TRAINED - {"loss", "short batch", "resumes", "mirror gradient"}
    else:
        assert tried >= TRAINED
    assert rows(report, "note") == NOTES.get(name, set())
    for what, words in SAID.get(name, {}).items():
        assert re.search(words, report.uses[what]), report.uses
    assert re.search(SHIMMED.get(name, ""), "; ".join(report.shims)), report.shims
    assert {path: path.stat().st_mtime_ns for path in PLUGINS.iterdir()} == before


def test_what_stands_in_is_told(monkeypatch):
    packages, found = ("torch_scatter", "torchvision", "lmdb", "sparsesvd"), PathFinder.find_spec
    monkeypatch.setattr(
        PathFinder,
        "find_spec",
        lambda name, *rest: None if name.partition(".")[0] in packages else found(name, *rest),
    )
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    report = check_plugin(CONFORMANCE["OnlyNames"], overrides={"epochs": 1})
    assert report.clean
    assert {f"a stand-in for {name}" for name in packages} <= set(report.shims)
    assert "models.common" in report.shims
    assert not text_of(report, "resumes").startswith("interrupted")  # one epoch


@pytest.mark.skipif(torch.cuda.is_available(), reason="shim of machines without CUDA")
def test_cuda_calls_on_a_machine_without_are_told():
    report = check_plugin(CONFORMANCE["OldNumbers"], overrides={"epochs": 1})
    assert {".cuda() without CUDA", '.to("cuda") without CUDA'} <= set(report.shims)


@pytest.mark.slow
@pytest.mark.parametrize("name", sources.model_names())
def test_our_own_models_are_clean(name):
    report = check_plugin(sources.find_model(name))
    assert report.clean, report.text(in_full=True)
    assert rows(report, "note") == set()
    assert not report.untried
    assert report.shims == []


def test_every_file_has_its_line_in_the_table():
    text = (PLUGINS / "README.md").read_text()
    stems = {file.stem for file in PLUGINS.glob("*.py")}
    first, second = text.split("| file | what it is |")
    for table in (first, second):
        assert stems <= set(re.findall(r"[a-z_]+", table))
    yamls = {file.stem for file in PLUGINS.glob("*.yaml")}
    assert yamls == set(CONFORMANCE) - {"NoYaml"}


# Plugins with one fault each. HEAD + body is a model that works where the body says nothing else.
HEAD = """
import torch
import torch.nn as nn
from common.abstract_recommender import GeneralRecommender


class Parent(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user = nn.Embedding(self.n_users, 4)
        self.item = nn.Embedding(self.n_items, 4)

    def calculate_loss(self, batch):
        u, p, n = self.user(batch[0]), self.item(batch[1]), self.item(batch[2])
        return nn.functional.softplus((u * (n - p)).sum(1)).mean()

    def full_sort_predict(self, batch):
        return self.user(batch[0]) @ self.item.weight.t()


class Mine(Parent):
"""
BROKEN = {
    "absent package": (
        "import nowhere_to_be_found",
        {"imports": "needs the package nowhere_to_be_found, which is not installed$"},
    ),
    "absent name": (
        "from common.loss import NoSuchLoss",
        {"imports": "it imports NoSuchLoss from common.loss, which MMRec has not"},
    ),
    "error in the file": ("x = 1 / 0", {"imports": r"mine.py line 22, in Mine: ZeroDivisionError"}),
    "exit": (
        "raise SystemExit('bye')",
        {"imports": "ends the program while it is imported .status bye"},
    ),
    "constructor": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.weight = 2 * config['reg_wieght']
        """,
        {"constructs": r"mine.py line 25, in __init__: TypeError: .*reads reg_wieght: declared"},
    ),
    "side file": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            import numpy, os
            folder = config['data_path'] + config['dataset']
            file = os.path.join(folder, 'user_profile.npy')
            self.graph = numpy.load(file, allow_pickle=True).item()
        """,
        {"constructs": r"needs a side file user_profile.npy, which data set 'toy' .*-d NAME"},
    ),
    "no parameter": (
        """
        def __init__(self, config, dataset):
            GeneralRecommender.__init__(self, config, dataset)
        """,
        {"constructs": "no parameter to train; set req_training: False"},
    ),
    "hook before": (
        "def pre_epoch_processing(self):\n    self.not_there += 1",
        {"pre-epoch hook": "in pre_epoch_processing: AttributeError"},
    ),
    "hook after": (
        "def post_epoch_processing(self):\n    return self.not_there",
        {"post-epoch hook": "in post_epoch_processing: AttributeError"},
    ),
    "leak": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            from utils.dataset import RecDataset

            held = RecDataset(config).df.query("x_label > 0").itemID
            self.item.weight.data[held.to_numpy()] += 1
        """,
        {"leaks": "with the validation and test rows removed it raises DataError|item.weight"},
    ),
    "list loss": (
        "def calculate_loss(self, batch):\n    return [super().calculate_loss(batch)]",
        {"loss": "returned a list of 1; wanted a tensor with one element or a tuple"},
    ),
    "loss of rows": (
        "def calculate_loss(self, batch):\n    return self.user(batch[0]).sum(1)",
        {"loss": r"returned a tensor of shape \(32,\); wanted"},
    ),
    "NaN loss": (
        "def calculate_loss(self, batch):\n    return super().calculate_loss(batch) * float('nan')",
        {"loss": r"the loss of a batch \(3, 32\) is \[nan\]"},
    ),
    "loss without gradient": (
        "def calculate_loss(self, batch):\n    return super().calculate_loss(batch).detach()",
        {"loss": "no gradient, so nothing would be trained"},
    ),
    "infinite gradient": (
        """
        def calculate_loss(self, batch):
            return super().calculate_loss(batch) + (self.item.weight * 0).pow(0.5).sum()
        """,
        {"loss": "the gradient of item.weight is not finite"},
    ),
    "fixed batch size": (
        """
        def calculate_loss(self, batch):
            u = self.user(batch[0]).view(self.batch_size, 2, 2)
            return super().calculate_loss(batch) + u.mean()
        """,
        {"short batch": r"mine.py line 24, in calculate_loss: RuntimeError: shape"},
    ),
    "NaN later": (
        """
        calls = 0
        def calculate_loss(self, batch):
            self.calls += 1
            return super().calculate_loss(batch) * (float('nan') if self.calls == 12 else 1)
        """,
        {"trains": "not finite in epoch 2, batch 4"},
    ),
    "nothing moves": (
        "def calculate_loss(self, batch):\n    return super().calculate_loss(batch) * 0",
        {"trains": "no parameter moved in 2 epochs"},
    ),
    "wrong width": (
        "def full_sort_predict(self, batch):\n    return super().full_sort_predict(batch)[:, 1:]",
        {"trains": r"returned shape \(32, 59\)"},
    ),
    "squeezed for one user": (
        """
        def full_sort_predict(self, batch):
            return super().full_sort_predict(batch).squeeze()
        """,
        {"scores": r"returned shape \(60,\) for 1 user; wanted \(users, items\) = \(1, 60\)"},
    ),
    "infinite scores": (
        """
        def full_sort_predict(self, batch):
            scores = super().full_sort_predict(batch)
            scores[:, 0] = float('-inf')
            return scores
        """,
        {"scores": "the scores of 32 of 32 users are not finite"},
    ),
    "whole numbers": (
        "def full_sort_predict(self, batch):\n"
        "    return (super().full_sort_predict(batch) * 10000).long()",
        {"scores": "torch.int64; wanted floating point"},
    ),
    "no scores": (
        "def full_sort_predict(self, batch):\n    pass",
        {"trains": "AttributeError: 'NoneType' object has no attribute 'shape'"},
    ),
    "cannot be written into": (
        """
        def full_sort_predict(self, batch):
            with torch.inference_mode():
                return super().full_sort_predict(batch)
        """,
        {"trains": "RuntimeError: Inplace update to inference tensor"},
    ),
    "view of its state": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.all = None
        def train(self, mode=True):
            self.all = None
            return super().train(mode)
        def full_sort_predict(self, batch):
            if self.all is None or len(self.all) != len(batch[0]):
                self.all = super().full_sort_predict(batch)
            return self.all
        """,
        {"scores": "what the host wrote into the scores came back"},
    ),
    "rows of other users": (
        "def full_sort_predict(self, batch):\n"
        "    return super().full_sort_predict([batch[0].sort().values, batch[1]])",
        {"scores": "depend on which users are asked for together"},
    ),
    "unsaved state": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            self.memory = iter(range(1000))
        def calculate_loss(self, batch):
            next(self.memory)
            return super().calculate_loss(batch)
        """,
        {
            "reloads": r"holds memory \(range_iterator\); return it from get_extra_state",
            "resumes": "memory",
        },
    ),
    "state out of sight": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            seen = []
            self.count = lambda more: seen.extend(more) or len(seen)
        def pre_epoch_processing(self):
            self.count([1])
        def full_sort_predict(self, batch):
            return super().full_sort_predict(batch) + float(self.count([]))
        """,
        {"reloads": "scores otherwise: it keeps state where no checkpoint looks"},
    ),
    "training state out of sight": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            seen = []
            self.count = lambda: seen.append(1) or len(seen)
        def pre_epoch_processing(self):
            self.epoch = self.count()
        def calculate_loss(self, batch):
            return super().calculate_loss(batch) / self.epoch
        """,
        {"resumes": "after an interruption it gives other numbers, from epoch 1 on"},
    ),
    "unseeded": (
        """
        def calculate_loss(self, batch):
            import numpy as np
            noise = 1 + np.random.default_rng().random()
            return super().calculate_loss(batch) * float(noise)
        """,
        {"repeats": "a second run of the same seed gives other numbers, from epoch 0 on"},
    ),
    "a cache that changes numbers": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            import os, numpy as np
            file = config['data_path'] + config['dataset'] + '/weight.npy'
            self.weight = 1.0
            if os.path.exists(file):
                self.weight = float(np.load(file))
            else:
                np.save(file, np.array(0.5))
        def calculate_loss(self, batch):
            return super().calculate_loss(batch) * self.weight
        """,
        {"repeats": "other numbers, from epoch 0 on"},
    ),
    "one loss a batch": (
        """
        last = None
        def calculate_loss(self, batch):
            if self.last is not None and self.last.equal(batch):
                raise ValueError('the same batch again')
            self.last = batch.clone()
            return super().calculate_loss(batch)
        """,
        {"mirror gradient": "ValueError: the same batch again"},
    ),
    "writes beside itself": (
        """
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            open(__file__.replace('mine.py', 'left.txt'), 'w').close()
        """,
        {"files": r"it wrote .*left.txt; only its view"},
    ),
}
GRID = "is_multimodal_model: False\nscale: [1.0, 0.0]\nhyper_parameters: [scale]\n"


def test_every_check_has_a_plugin_that_fails_it():
    failing = {next(iter(wanted)) for _, wanted in BROKEN.values()}
    assert failing | {"configuration", "last grid point"} == set(CHECKS)  # those have their tests


@pytest.mark.parametrize("fault", every_other(BROKEN))
def test_each_check_can_fail(fault, checked):
    body, wanted = BROKEN[fault]
    report = checked(body)
    # one fault may show in later checks too, but in no earlier one
    assert report.failed[0] == next(iter(wanted)), report.text(in_full=True)
    for name, message in wanted.items():
        assert re.search(message, text_of(report, name)), text_of(report, name)
    assert report.verdict.startswith("FAILED: ")
    assert "check-" not in text_of(report, next(iter(wanted)))  # no path of a folder that is gone


def test_the_last_grid_point_can_fail(checked):
    body = """
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.scale = 1 / config['scale']
    """
    report = checked(body, GRID)
    assert report.failed == ["last grid point"]
    assert "line 25, in __init__: ZeroDivisionError" in text_of(report, "last grid point")
    assert "of 2 points the first: seed=999 scale=1.0" in text_of(report, "configuration")


def test_a_yaml_can_fail(checked):
    report = checked("pass", "learner: adamant\n")
    assert report.failed == ["configuration"]
    assert "learner is 'adamant'" in text_of(report, "configuration")
    assert {"constructs", "trains", "files"} <= set(report.untried)
    assert "not tried, since it failed before: constructs" in report.text()


def test_what_fails_early_leaves_the_rest_untried(checked):
    report = checked(BROKEN["NaN loss"][0])
    assert {"trains", "scores", "resumes", "mirror gradient"} <= set(report.untried)
    assert rows(report, "ok") >= {"constructs", "files"}


def test_what_works_is_clean(checked):
    report = checked("pass")
    assert report.verdict == "clean"
    assert "Traceback" not in report.text(in_full=True)


def test_notes_are_no_failures(checked):
    body = """
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.lost = torch.zeros(3, requires_grad=True)
    def full_sort_predict(self, batch):
        import numpy as np
        open('scratch.txt', 'w').close()
        print('hello')
        noise = np.random.default_rng().random((len(batch[0]), self.n_items))
        return super().full_sort_predict(batch) + torch.from_numpy(noise).float() * 1e-9
    """
    report = checked(body.replace("* 1e-9", "* 0"))
    assert rows(report, "note") == {"parameters", "current folder"}
    assert "scratch.txt" in text_of(report, "current folder")
    assert "lost: trained, but no optimiser sees it" in text_of(report, "parameters")
    assert report.clean
    assert "hello" not in report.text()
    # the log is among it where an earlier test of this process has switched it on
    assert "\nhello\n" in report.text(in_full=True).split("--- printed")[1]
    report = checked(body.replace("* 1e-9", ""), overrides={"epochs": 1})
    assert "whatever the seed" in text_of(report, "scores are random")


def test_expanded_scores_are_copied(checked):
    body = """
    def full_sort_predict(self, batch):
        return self.item.weight[:, 0].expand(len(batch[0]), -1)
    """
    report = checked(body)
    assert report.clean, report.text(in_full=True)
    assert rows(report, "note") == {"expanded scores"}


def test_a_data_set_of_the_users(checked, tmp_path):
    folder = support.write_block_world(tmp_path / "data")
    np.save(folder / "user_graph_dict.npy", {0: [1]}, allow_pickle=True)
    body = BROKEN["side file"][0]
    options = {"data_path": str(folder.parent), "topk": [5, 20], "epochs": 2}
    graph = body.replace("user_profile", "user_graph_dict")
    report = checked(graph, dataset="blocks", overrides=options)
    assert report.clean, report.text(in_full=True)
    assert "data set 'blocks', 300 training rows" in report.data
    assert "train_batch_size 2048" in report.data  # the user's, not ours
    assert "every batch of this data set is full" in text_of(report, "short batch")
    (folder / "user_graph_dict.npy").unlink()
    report = checked(graph, dataset="blocks", overrides=options)
    assert report.clean, report.text(in_full=True)  # it is made
    report = checked(body, dataset="blocks", overrides=options)
    assert "side file user_profile.npy, which data set 'blocks' has not" in text_of(
        report, "constructs"
    )


def test_a_plugin_that_changes_the_data(checked, tmp_path):
    folder = support.write_block_world(tmp_path / "data")
    body = f"""
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        open({str(folder / "more.txt")!r}, 'w').close()
    """
    options = {"data_path": str(folder.parent), "topk": [5, 20], "epochs": 1}
    report = checked(body, dataset="blocks", overrides=options)
    assert report.failed == ["files"]
    assert "more.txt" in text_of(report, "files")


def test_overrides(checked):
    report = checked("pass", GRID, overrides={"scale": [3.0], "train_batch_size": 64})
    assert report.clean
    assert "of 1 point the first: seed=999 scale=3.0" in text_of(report, "configuration")
    assert "(3, 64)" in report.uses["batches"]
    with pytest.raises(ConfigError, match="temporary folder; leave out --runs_dir"):
        checked("pass", overrides={"runs_dir": "x"})
    with pytest.raises(ConfigError, match="leave out --data_path"):
        checked("pass", overrides={"data_path": "x"})


def test_a_package_of_the_extra_is_named(checked, monkeypatch):
    found = PathFinder.find_spec
    monkeypatch.setattr(
        PathFinder,
        "find_spec",
        lambda name, *rest: None if name == "torch_geometric" else found(name, *rest),
    )
    for name in [n for n in sys.modules if n.partition(".")[0] == "torch_geometric"]:
        monkeypatch.delitem(sys.modules, name)
    report = checked("import torch_geometric.nn")
    assert "torch_geometric, which is not installed; pip install '.[plugins]' brings it" in text_of(
        report, "imports"
    )


def test_close_is_measured_by_the_largest_score():
    scores = torch.tensor([[1e-7, 2e-7]])
    assert close(scores * (1 + 1e-6), scores)
    assert not close(scores * 1.01, scores)
    assert not close(torch.zeros(1, 2), scores)
    assert not close(scores[:, :1], scores)


def test_watching_is_undone():
    before = {owner: dict(vars(owner)) for owner in (Config, TrainDataLoader)}
    with usage.watching(), usage.noting():
        assert vars(Config)["__getitem__"] is not before[Config]["__getitem__"]
    assert {owner: dict(vars(owner)) for owner in before} == before
    usage.note("shim", "x")  # nobody listens


class TestCommand:
    def write(self, folder, name, body="pass", loss="calculate_loss"):
        folder.mkdir(parents=True, exist_ok=True)
        text = HEAD.replace("Mine", name).replace("calculate_loss", loss)
        (folder / f"{name.lower()}.py").write_text(text + f"    {body}\n")
        (folder / f"{name}.yaml").write_text("is_multimodal_model: False\n")
        return folder / f"{name.lower()}.py"

    def test_a_clean_file(self, tmp_path, monkeypatch, capsys):
        file = self.write(tmp_path / "theirs", "Mine")
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        assert main.main(["--check-plugin", "../theirs/mine.py", "--epochs=2"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"Mine, {file}, its yaml {file.with_name('Mine.yaml')}\n")
        assert "tried on  a made-up set of 50 users and 60 items" in out
        assert "ok      resumes" in out
        assert "\nclean\n" in out
        assert not list((tmp_path / "here").iterdir())
        assert {path.name for path in (tmp_path / "theirs").iterdir()} == {"mine.py", "Mine.yaml"}

    def test_a_failure_and_its_traceback(self, tmp_path, capsys):
        file = self.write(tmp_path, "Mine", "x = 1 / 0")
        assert main.main(["--check-plugin", str(file)]) == 1
        out = capsys.readouterr().out
        assert "FAILED  imports" in out
        assert "Traceback" not in out
        assert "(in full: --traceback)" in out
        assert main.main(["--check-plugin", str(file), "--traceback"]) == 1
        assert "Traceback (most recent call last)" in capsys.readouterr().out

    def test_a_folder_and_one_of_its_models(self, tmp_path, capsys):
        models = tmp_path / "src" / "models"
        self.write(models, "Good")
        self.write(models, "Poor", "x = 1 / 0")
        assert main.main(["--check-plugin", str(tmp_path), "--epochs=1"]) == 1
        assert capsys.readouterr().out.splitlines()[-2:] == ["Good  clean", "Poor  FAILED: imports"]
        assert main.main(["--check-plugin", str(tmp_path), "-m", "Good", "--epochs=1"]) == 0

    def test_one_of_ours(self, capsys):
        assert main.main(["--check-plugin", "Pop"]) == 0
        assert "the defaults: seed=999" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["/nowhere/mine.py"], "no plugin file or folder /nowhere/mine.py"),
            (["LigthGCN"], "no model 'LigthGCN'.*Did you mean 'LightGCN'"),
            (["{folder}"], "there is no model in .*defines a class X"),
            (["{folder}/two.py"], "two.py defines One, Other; name the model's with -m"),
            (["{folder}/two.py", "-m", "Third"], "no class 'Third'; its classes: One, Other"),
            (["{folder}/bad.py"], "bad.py, line 1 is not valid Python"),
            (["Pop", "--grid"], "does without --grid; leave it out"),
            (["Pop", "--epohcs=3"], "unknown key 'epohcs'.*Did you mean 'epochs'"),
            (["Pop", "--cache_dir=x"], "leave out --cache_dir"),
            (["Pop", "-d", "tiktik"], "unknown data set 'tiktik'.*Did you mean 'tiktok'"),
            (["Pop", "-d", "none", "--data_path={folder}"], "unknown data set 'none'"),
            (["Pop", "-d", "blocks", "--data_path={folder}"], "topk has 50, but .* only 40 items"),
            (["Pop", "-d", "broken", "--data_path={folder}"], "has no column 'userID'"),
        ],
    )
    def test_what_cannot_be_checked(self, words, message, tmp_path, capsys):
        (tmp_path / "two.py").write_text("class One:\n    pass\nclass Other:\n    pass\n")
        if "bad.py" in words[0]:
            (tmp_path / "bad.py").write_text("class\n")
        if "blocks" in words:
            support.write_block_world(tmp_path)
        support.write_inter(tmp_path / "broken", [(0, 0, 0)], header="a\tb\tc")
        words = [word.format(folder=tmp_path) for word in words]
        assert main.main(["--check-plugin", *words]) == 2
        assert re.search(message, capsys.readouterr().err)

    def test_the_others_options_need_their_partners(self, capsys):
        with pytest.raises(SystemExit):
            main.main(["-m", "Pop"])
        assert "required: -m/--model, -d/--dataset" in capsys.readouterr().err
        assert main.main(["-m", "Pop", "-d", "demo", "--traceback"]) == 2
        assert "--traceback belongs to --check-plugin" in capsys.readouterr().err
