"""What model files of MMRec's forks need beyond MMRec itself."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import support
from ld4mrec.commands.train import main
from ld4mrec.comparison.entries import declared
from ld4mrec.config.configuration import Config
from ld4mrec.errors import ConfigError, RunError
from ld4mrec.plugins.graph_dicts import graph_at, neighbours, offered
from ld4mrec.plugins.sources import (
    ModelNotFound,
    PluginImportError,
    config_of,
    find_model,
    find_plugins,
    keys_read,
)
from ld4mrec.plugins.stand_ins import stand_in
from ld4mrec.search.train import run

KEYS = {"epochs": 1, "topk": [1, 2], "valid_metric": "recall@2", "threads": 1, "cache_dir": None}
MODEL = """
import numpy as np, os, torch
from torch import nn
from common.abstract_recommender import GeneralRecommender
{imports}

class Fork(GeneralRecommender):
    def __init__(self, config, dataloader{arguments}):
        super().__init__(config, dataloader)
        self.user = nn.Embedding(self.n_users, 4)
        self.item = nn.Embedding(self.n_items, 4)
        folder = config["data_path"] + config["dataset"]
{lines}

    def calculate_loss(self, interaction):
        u, p, n = self.user(interaction[0]), self.item(interaction[1]), self.item(interaction[2])
        return -torch.log(torch.sigmoid((u * p - u * n).sum(-1))).mean()

    def full_sort_predict(self, interaction):
        return self.user(interaction[0]) @ self.item.weight.T
"""


@pytest.fixture
def write(tmp_path):
    """write(path, text): a file of the fork's checkout, below its src."""

    def made(path, text):
        file = tmp_path / "checkout" / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return made


@pytest.fixture
def fork(tmp_path):
    """fork(lines, arguments, yaml): the finished run of a model file on the toy world."""

    def made(lines=(), arguments="", imports="", yaml="", template=MODEL, **more):
        models = tmp_path / "checkout" / "src" / "models"
        models.mkdir(parents=True, exist_ok=True)
        body = "\n".join(f"        {line}" for line in lines)
        text = template.format(lines=body, arguments=arguments, imports=imports)
        (models / "fork.py").write_text(text)
        if yaml is not None:
            (models / "Fork.yaml").write_text(yaml)
        folder = support.write_toy(tmp_path / "data")
        np.save(folder / "audio_feat.npy", np.ones((7, 3), dtype=np.float32))
        keys = KEYS | {"data_path": f"{folder.parent}/", "runs_dir": f"{tmp_path}/runs"} | more
        (done,) = run("Fork", "toy", keys, plugin=str(models.parents[1]))
        return done

    return made


def test_a_further_modality_by_its_letter(fork):
    lines = ["assert self.a_feat.shape == (7, 3)", "assert self.audio_feat is self.a_feat"]
    lines += ["assert not hasattr(self, 'm_feat')"]
    assert fork(lines).result


def test_a_constructor_with_a_plain_third_argument(fork):
    assert fork(["assert '-' in local_time"], ", local_time").result


def test_a_constructor_that_asks_for_something_unknown(fork):
    with pytest.raises(RunError, match=r"the constructor of Fork asks for 'graph' beside config"):
        fork([], ", graph")


def test_keys_called_like_those_of_mirror_gradient(fork):
    yaml = "alpha1: 0.3\nbeta: 0.5\n"
    lines = ["assert (config['alpha1'], config['beta']) == (0.3, 0.5)"]
    assert fork(lines, yaml=yaml).result
    assert fork(lines, yaml=f"{yaml}alpha2: 0.1\n").result


def test_a_package_without_init_in_the_checkout(fork, tmp_path):
    tools = tmp_path / "checkout" / "src" / "utils_package"
    tools.mkdir(parents=True)
    (tools / "tools.py").write_text("VALUE = 7\n")
    assert fork(["assert VALUE == 7"], imports="from utils_package.tools import VALUE").result


def test_modules_by_their_path_from_the_checkout(fork):
    imports = "from src.common.loss import BPRLoss\nfrom src.utils.utils import build_sim"
    lines = ["from common.loss import BPRLoss as ours", "assert BPRLoss is ours"]
    assert fork(lines, imports=imports).result
    assert not [name for name in sys.modules if name.partition(".")[0] == "src"]


def test_the_users_graph_is_made_where_it_is_absent(fork, tmp_path):
    lines = [
        "path = os.path.join(folder, config['user_graph_dict_file'])",
        "graph = np.load(path, allow_pickle=True).item()",
        "assert sorted(graph) == list(range(self.n_users))",
        "assert graph[0] == [[1, 2, 3], [1, 1, 1]]",
        "items = np.load(os.path.join(folder, 'item_graph_dict_2.npy'), allow_pickle=True).item()",
        "assert sorted(items) == list(range(self.n_items))",
    ]
    assert fork(lines).result
    assert not list(tmp_path.rglob("*graph_dict*"))


def test_neighbours_by_hand(tmp_path):
    rows = sp.csr_matrix(np.array([[1, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]))
    graph = neighbours(rows)
    assert graph == {
        0: [[1, 2], [2, 1]],
        1: [[0], [2]],
        2: [[0], [1]],
        3: [[], []],
    }
    assert neighbours(rows, most=1)[0] == [[1], [2]]
    path = tmp_path / "user_graph_dict.npy"
    assert graph_at(path) is None
    with offered(tmp_path, rows):
        assert graph_at(path).item() == graph
        assert graph_at(tmp_path / "item_graph_dict_2.npy").item() == neighbours(rows.T.tocsr())
        assert graph_at(tmp_path / "other.npy") is None
        path.touch()
        assert graph_at(path) is None  # what is there is read
    assert graph_at(3) is None


def test_the_sparse_tensor_of_torch_sparse():
    module = stand_in("torch_sparse")
    row, col, value = torch.tensor([0, 1, 1]), torch.tensor([1, 0, 2]), torch.tensor([1.0, 2, 3])
    matrix = module.SparseTensor(row=row, col=col, value=value, sparse_sizes=(2, 3))
    dense = torch.tensor([[0.0, 1, 0], [2, 0, 3]])
    assert torch.equal(matrix.to_dense(), dense)
    other = torch.arange(6.0).reshape(3, 2)
    for product in (module.matmul(matrix, other), matrix @ other, matrix.matmul(other)):
        assert torch.equal(product, dense @ other)
    assert torch.equal(module.spmm(torch.stack([row, col]), value, 2, 3, other), dense @ other)
    assert torch.equal((matrix @ matrix.t()).to_dense(), dense @ dense.T)
    assert torch.equal(matrix.sum(dim=1), dense.sum(1))
    assert matrix.sparse_sizes() == (2, 3)
    assert [part.tolist() for part in matrix.coo()] == [[0, 1, 1], [1, 0, 2], [1.0, 2.0, 3.0]]
    assert module.SparseTensor(row, col).sparse_sizes() == (2, 3)
    with pytest.raises(NotImplementedError, match="knows reduce='sum', got 'mean'"):
        module.matmul(matrix, other, reduce="mean")


PARSES = "import argparse; p = argparse.ArgumentParser(); p.add_argument('--dim'{}); p.parse_args()"


def test_a_file_that_parses_the_command_line(fork, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py", "-m", "Fork", "--learning_rate=1"])
    assert fork(imports=PARSES.format(", default=4")).result
    assert sys.argv[1:] == ["-m", "Fork", "--learning_rate=1"]


def test_a_file_that_needs_words_of_its_own(fork):
    with pytest.raises(PluginImportError, match=r"ends the program .*status 2.*defaults"):
        fork(imports=PARSES.format(", required=True"))


HELPERS = """
import torch
from common.loss import BPRLoss
from utils.utils import build_sim as ours
def build_sim(rows):
    raise AssertionError("ours comes first")
def get_item_item_graph(rows, k):
    return ours(rows).topk(k).indices
def _private():
    pass
"""
OWN_BASE = """
import numpy as np, torch
from torch import nn
class AbstractRecommender(nn.Module):
    pass
class GeneralRecommender(AbstractRecommender):
    def __init__(self, config, dataloader):
        super().__init__()
        self.n_users = "another"
        self.mm_feat = torch.ones(dataloader.dataset.get_item_num(), 2)
        self.image_available = np.ones(dataloader.dataset.get_item_num(), dtype=bool)
    def score(self, users, items):
        return (self.user(users) * self.item(items)).sum(-1)
"""


class TestNamesOfTheCheckout:
    def test_ours_first_then_the_checkouts(self, fork, write):
        write("utils/utils.py", HELPERS)
        write("common/loss.py", "class DiceLoss:\n    value = 3\n")
        imports = "from utils.utils import build_sim, get_item_item_graph\n"
        imports += "from common.loss import BPRLoss, DiceLoss\nimport utils.utils as helpers"
        lines = ["assert get_item_item_graph(self.t_feat, 2).shape == (self.n_items, 2)"]
        lines += ["assert build_sim(self.t_feat).shape == (self.n_items, self.n_items)"]
        lines += ["assert DiceLoss.value == 3"]
        lines += ["assert helpers.get_item_item_graph is get_item_item_graph"]
        lines += ["assert not hasattr(helpers, 'get_other_graph')"]
        done = fork(lines, imports=imports)
        assert done.result
        from common import loss

        assert not hasattr(loss, "DiceLoss")
        assert not [name for name in sys.modules if "checkout" in name]
        code = done.folder.identity["code"]
        assert {"plugin/get_item_item_graph", "plugin/DiceLoss"} <= code.keys()
        write("utils/utils.py", HELPERS.replace("topk(k)", "topk(k, largest=False)"))
        assert fork(lines, imports=imports).id != done.id  # what it lends decides its numbers

    @pytest.mark.parametrize(
        "imports", ["from utils.utils import *", "from src.utils.utils import *"]
    )
    def test_all_names_of_both(self, fork, write, imports):
        write("utils/utils.py", HELPERS)
        lines = ["assert get_item_item_graph(self.t_feat, 2).shape == (self.n_items, 2)"]
        lines += ["assert build_sim(self.t_feat).shape == (self.n_items, self.n_items)"]
        done = fork(lines, imports=imports)
        assert "plugin/get_item_item_graph" in done.folder.identity["code"]

    def test_a_file_that_does_not_run_lends_nothing(self, fork, write):
        write("utils/utils.py", "import nowhere_to_be_found\n")
        assert fork(imports="from utils.utils import *").result
        with pytest.raises(PluginImportError, match=r"needs the package nowhere_to_be_found"):
            fork(imports="from utils.utils import build_mixed_graph")

    def test_without_the_checkout(self, fork):
        wanted = (
            r"imports build_mixed_graph from utils\.utils, .*utils/utils\.py .*CHECKOUT -m Fork"
        )
        with pytest.raises(PluginImportError, match=wanted):
            fork(imports="from utils.utils import build_mixed_graph")

    def test_what_its_base_class_adds(self, fork, write):
        write("common/abstract_recommender.py", OWN_BASE)
        lines = ["assert self.n_users == 5"]
        lines += ["assert torch.equal(self.mm_feat, torch.ones(7, 2))"]
        lines += ["assert self.image_available.all()"]
        lines += ["assert self.score(torch.tensor([0, 1]), torch.tensor([2, 3])).shape == (2,)"]
        lines += ["assert not hasattr(self, 'nothing')"]
        done = fork(lines)
        assert "plugin/GeneralRecommender" in done.folder.identity["code"]

    def test_a_base_class_that_does_not_build(self, fork, write):
        broken = OWN_BASE.replace("torch.ones(", "torch.load('absent')(")
        write("common/abstract_recommender.py", broken)
        with pytest.raises(AttributeError, match=r"own base class.* does not build: FileNotFound"):
            fork(["self.mm_feat"])


class TestKeysOfItsOwnCommandLine:
    LINES = ("self.weight = config['cl_weight']", "self.kind = helper(config)")
    HELPER = "def helper(args):\n    return args['kind'] if 'kind' in args else 'none'\n"

    def test_a_key_that_it_reads_and_no_yaml_declares(self, fork, write):
        write("utils/own.py", self.HELPER)
        imports = "from utils.own import helper"
        known = ["assert (self.weight, self.kind) == (0.5, 'deep')"]
        done = fork([*self.LINES, *known], imports=imports, cl_weight=0.5, kind="deep")
        assert done.folder.identity["config"]["cl_weight"] == 0.5
        absent = ["assert (self.weight, self.kind) == (None, 'none')"]
        without = fork([*self.LINES, *absent], imports=imports)
        assert "cl_weight" not in without.folder.identity["config"]

    def test_a_key_that_it_does_not_read(self, fork, write):
        write("utils/own.py", self.HELPER)
        wanted = r"unknown key 'cl_wieght'.* mean 'cl_weight'\? Read by .* yaml: cl_weight, kind\."
        with pytest.raises(ConfigError, match=wanted):
            fork(self.LINES, imports="from utils.own import helper", cl_wieght=0.5)

    def test_a_list_is_values_to_try(self, fork):
        with pytest.raises(ValueError, match="too many values to unpack"):  # two runs
            fork(["assert config['cl_weight'] in (1, 2)"], cl_weight=[1, 2])

    def test_ours_stay_strict(self):
        with pytest.raises(ConfigError, match="unknown key 'cl_weight'"):
            Config("Pop", "tiktok", {"cl_weight": 1}, read=())

    def test_on_the_command_line(self, fork, write, tmp_path, capsys):
        fork([*self.LINES[:1], "assert config['cl_weight'] != 'no'"], yaml="dim: 3\n")
        checkout = str(tmp_path / "checkout")
        words = ["-m", "Fork", "-d", "toy", "--plugin", checkout, f"--data_path={tmp_path}/data"]
        words += [f"--runs_dir={tmp_path}/runs", "--epochs=1", "--topk=[1, 2]"]
        words += ["--valid_metric=recall@2"]
        assert main([*words, "--cl_weight=0.25"]) == 0
        configs = [path.read_text() for path in (tmp_path / "runs").rglob("config.yaml")]
        assert sum("cl_weight: 0.25" in text for text in configs) == 1
        with pytest.raises(SystemExit):
            main(["--plugin", checkout, "--help"])
        assert "no yaml declares, so None unless given: cl_weight" in capsys.readouterr().out

    def test_they_are_found_without_running_it(self, write):
        write(
            "models/fork.py", MODEL.format(lines="        config['x1']", arguments="", imports="")
        )
        source = find_model("Fork", write("models/Fork.yaml", "a: 1\n").parent)
        assert keys_read(source) == {"x1", "data_path", "dataset"}
        assert {"x1", "a"} <= declared("Fork", "tiktok", {}, source)  # so a comparison takes them


class TestATrainerOfItsOwn:
    TRAINER = "from common.trainer import Trainer\nclass {}(Trainer):\n    pass\n"

    @pytest.mark.parametrize("name", ["ForkTrainer", "FORKTrainer"])
    @pytest.mark.parametrize("path", ["common/trainer.py", "utils/own.py", "trainers/fork.py"])
    def test_of_its_name_in_the_checkout(self, fork, write, name, path):
        write(path, self.TRAINER.format(name))
        with pytest.raises(RunError, match=rf"Fork asks for .*, {name} in .*{path}, .*outside the"):
            fork()

    def test_in_its_own_file(self, fork):
        with pytest.raises(RunError, match=r"its own, ForkTrainer in .*fork\.py"):
            fork(imports=self.TRAINER.format("ForkTrainer"))

    def test_named_by_its_yaml(self, fork, write):
        write("common/trainer.py", self.TRAINER.format("Alternating"))
        assert fork().result  # somebody else's
        assert fork(yaml="trainer: Trainer\n").result
        with pytest.raises(RunError, match=r"its own, Alternating in .*trainer\.py"):
            fork(yaml="trainer: Alternating\n")

    def test_a_method_in_place_of_a_loss(self, fork):
        with_fit = MODEL + "\n    def fit(self, loader):\n        pass\n"
        assert fork(template=with_fit).result  # beside a loss it is one more method
        wanted = r"trains itself by fit\(\) and has no calculate_loss"
        with pytest.raises(RunError, match=wanted):
            fork(template=with_fit.replace("calculate_loss", "another"))


class TestNamesInAnotherCase:
    def test_a_file_that_is_not_lower_case(self, write):
        text = MODEL.format(lines="        pass", arguments="", imports="")
        file = write("models/Fork.py", text)
        checkout = file.parents[2]
        assert find_model("Fork", checkout).file == file
        assert [source.name for source in find_plugins(checkout)] == ["Fork"]
        write("models/broken.py", "class")
        assert find_model("Fork", checkout).file == file
        file.rename(file.with_name("model_v2.py"))
        assert find_model("Fork", checkout).file.name == "model_v2.py"
        with pytest.raises(ModelNotFound, match=r"there is no fork2.py for model 'Fork2'"):
            find_model("Fork2", checkout)

    @pytest.mark.parametrize("path", ["models/fork.yaml", "configs/model/FORK.yaml"])
    def test_a_yaml_in_another_case_is_taken_and_named(self, fork, write, caplog, path):
        yaml = write(path, "dim: 9\n")
        write("models/Fork.yaml", "").unlink()
        assert fork(["assert config['dim'] == 9"], yaml=None).result
        assert f"{yaml} is taken for Fork.yaml, from which it differs in case" in caplog.text

    def test_the_exact_one_first(self, write):
        write("models/fork.py", MODEL.format(lines="        pass", arguments="", imports=""))
        write("models/fork.yaml", "dim: 9\n")
        exact = write("configs/model/Fork.yaml", "dim: 8\n")
        assert find_model("Fork", exact.parents[3]).yaml == exact


def test_a_full_width_comma_in_a_list_is_named_by_its_key(fork):
    with pytest.raises(ConfigError, match=r"Fork\.yaml: dims has a full-width comma in '8， 16'"):
        fork(yaml="dims: [8， 16]\n")
    with pytest.raises(ConfigError, match="hyper_parameters has a full-width comma"):
        fork(yaml="a: [1]\nb: [2]\nhyper_parameters: [a， b]\n")
    assert fork(yaml="note: 'eins， zwei'\n").result  # a text


@pytest.mark.parametrize("dataset", ["baby", "microlens", "tiktok", "tmall"])
def test_our_data_sets_hide_no_users_graph(dataset, write):
    """MMRec's yamls of baby and microlens name the file; ours of that name come first."""
    write("models/fork.py", MODEL.format(lines="        pass", arguments="", imports=""))
    theirs = write(f"configs/dataset/{dataset}.yaml", "user_graph_dict_file: another.npy\n")
    config = config_of(find_model("Fork", theirs.parents[3]), dataset, {})
    assert config["user_graph_dict_file"] == "user_graph_dict.npy"
