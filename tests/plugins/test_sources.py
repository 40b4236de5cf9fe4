"""Third-party model files: found, loaded, kept apart, and their pieces run without the host."""

import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import support
from ld4mrec.plugins.shims import is_stand_in, plugin_shims
from ld4mrec.plugins.sources import (
    ModelNotFound,
    ModelSource,
    PluginImportError,
    find_model,
    find_plugins,
    load_model_class,
    model_names,
)
from utils.utils import get_model, get_trainer

OURS = support.ROOT / "src" / "models"
PLUGINS = support.ROOT / "tests" / "plugins" / "theirs"
PLUGIN_MODELS = ["CachedPref", "GraphMF", "ItemKNNGraph", "NeighbourSample", "SelfBoot"]


@pytest.fixture(autouse=True)
def only_ours_shown_afterwards():
    modules, finders = set(sys.modules), list(sys.meta_path)
    yield
    get_model("Pop")
    assert sys.meta_path == finders
    left = {n for n in set(sys.modules) - modules if n.startswith(("models.", "common.", "utils."))}
    places = [Path(sys.modules[name].__file__) for name in left]
    assert all(place.is_relative_to(support.ROOT / "src") for place in places)


@pytest.fixture
def write(tmp_path):
    def write_file(path, text=""):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    return write_file


def model(name, body="pass"):
    return f"class {name}:\n    {body}\n"


def names_of(*names):
    return [load_model_class(find_model(name, PLUGINS)).__name__ for name in names]


class TestFinding:
    def test_names_of_our_models(self):
        names = model_names()
        assert {"LD4MRec", "Pop"} <= set(names)
        assert names == sorted(names)
        assert len(names) == len(list(OURS.glob("*.py")))

    def test_model_in_our_tree(self):
        yaml = support.ROOT / "src" / "configs" / "model" / "Pop.yaml"
        assert find_model("Pop") == ModelSource("Pop", OURS / "pop.py", yaml, in_tree=True)
        assert find_model("Pop", OURS / "pop.py").in_tree

    def test_file_of_any_name(self, write):
        file = write("anything.py", model("Other") + model("Mine"))
        assert find_model("Mine", file) == ModelSource("Mine", file, None, in_tree=False)
        assert find_model("Mine", str(file)).file == file

    @pytest.mark.parametrize("inside", [".", "models", "src/models"])
    def test_folder_or_checkout(self, write, tmp_path, inside):
        file = write(f"{inside}/mine.py", model("Mine"))
        assert find_model("Mine", tmp_path).file == file

    def test_yaml_beside_then_in_the_checkout_then_ours(self, write):
        file = write("src/models/pop.py", model("Pop"))
        assert find_model("Pop", file).yaml is None  # ours would be for another model
        theirs = write("src/configs/model/Pop.yaml")
        assert find_model("Pop", file).yaml == theirs
        beside = write("src/models/Pop.yaml")
        assert find_model("Pop", file).yaml == beside

    def test_class_made_by_import_or_in_a_try(self, write):
        text = "try:\n    class A: pass\nexcept ImportError:\n    from x import y as B\nC = 3\n"
        for name in "ABC":
            assert find_model(name, write("several.py", text)).name == name

    def test_nothing_is_imported(self, write):
        assert find_model("Mine", write("mine.py", "1 / 0\n" + model("Mine"))).name == "Mine"

    @pytest.mark.parametrize("name", ["LD4MRecs", "LDMRec"])
    def test_unknown_name_gets_the_nearest_and_the_list(self, name):
        with pytest.raises(
            ModelNotFound, match=rf"no model '{name}' in .*mean 'LD4MRec'\? Known: .*Pop"
        ):
            find_model(name)

    @pytest.mark.parametrize("name", ["Xyzzyx", "../models/pop", ""])
    def test_unlike_any_name_gets_the_list(self, name):
        with pytest.raises(ModelNotFound, match=r"Known: .*LD4MRec.*--plugin"):
            find_model(name)

    def test_wrong_case(self, write):
        with pytest.raises(ModelNotFound, match=r"no model 'ld4mrec': .*defines 'LD4MRec' \(upper"):
            find_model("ld4mrec")
        with pytest.raises(ModelNotFound, match=r"no model 'MINE': .*mine.py defines 'Mine'"):
            find_model("MINE", write("mine.py", model("Mine")))

    def test_absent_plugin(self, tmp_path):
        with pytest.raises(ModelNotFound, match=r"no plugin file or folder .*nowhere"):
            find_model("Mine", tmp_path / "nowhere")

    def test_plugin_of_a_wrong_kind(self, write):
        with pytest.raises(ModelNotFound, match=r"mine.txt is neither a Python file"):
            find_model("Mine", write("mine.txt"))

    def test_file_without_the_class(self, write):
        file = write("mine.py", model("Other") + model("Third"))
        with pytest.raises(ModelNotFound, match="no class 'Mine'; its classes: Other, Third"):
            find_model("Mine", file)
        with pytest.raises(ModelNotFound, match="no class 'Mine'; its classes: none"):
            find_model("Mine", write("empty.py"))

    def test_folder_without_the_model(self, write, tmp_path):
        with pytest.raises(ModelNotFound, match=r"no mine.py for model 'Mine'.*no model at all"):
            find_model("Mine", tmp_path)
        write("src/models/mines.py", model("Mines"))
        write("src/models/broken.py", "class")
        with pytest.raises(ModelNotFound, match=r"mean 'Mines'\? Known: Mines\."):
            find_model("Mine", tmp_path)

    def test_syntax_error(self, write):
        file = write("mine.py", "x = 1\nclass Mine\n")
        with pytest.raises(ModelNotFound, match=r"mine.py, line 2 is not valid Python: expected"):
            find_model("Mine", file)


class TestLoading:
    def test_ours(self):
        from models.pop import Pop

        assert get_model("Pop") is Pop

    def test_trainer(self):
        from ld4mrec.training.trainer import Trainer

        assert get_trainer() is Trainer

    def test_every_plugin_file(self):
        assert names_of(*PLUGIN_MODELS) == PLUGIN_MODELS
        every = find_plugins(PLUGINS)  # those of the suite are run in test_plugin_check.py
        assert set(PLUGIN_MODELS) <= {source.name for source in every}
        named = {source.file.stem for source in every}
        assert {p.stem for p in PLUGINS.glob("*.py")} == named | {"boot_parts"}

    def test_module_name_and_base_class(self):
        from common.abstract_recommender import GeneralRecommender

        mine = load_model_class(find_model("ItemKNNGraph", PLUGINS))
        assert mine.__module__ == "models.itemknngraph"
        assert issubclass(mine, GeneralRecommender)

    def test_equal_names_from_two_places(self, write):
        first = write("a/mine.py", model("Mine", "place = 'a'"))
        second = write("b/mine.py", model("Mine", "place = 'b'"))
        sources = [find_model("Mine", file) for file in (first, second)]
        classes = [load_model_class(source) for source in sources]
        assert [c.place for c in classes] == ["a", "b"]
        assert [load_model_class(source) for source in sources] == classes  # kept, not run again

    def test_equal_names_in_one_folder(self, write):
        sources = [
            find_model("Mine", write(f"{stem}.py", model("Mine", f"place = '{stem}'")))
            for stem in ("mine", "mine_too")
        ]
        assert [load_model_class(source).place for source in sources] == ["mine", "mine_too"]

    def test_changed_file_is_read_again(self, write):
        source = find_model("Mine", write("mine.py", model("Mine", "place = 'old'")))
        assert load_model_class(source).place == "old"
        write("mine.py", model("Mine", "place = 'new!'"))
        assert load_model_class(source).place == "new!"

    @pytest.mark.parametrize("stem", ["pop", "my_popularity"])
    def test_name_of_one_of_ours(self, write, stem):
        ours = get_model("Pop")
        theirs = load_model_class(find_model("Pop", write(f"{stem}.py", model("Pop", "mine = 1"))))
        assert theirs.mine == 1
        assert get_model("Pop") is ours
        from models import pop

        assert pop.Pop is ours

    def test_siblings_first_then_ours(self, write):
        write("models/ld4mrec.py", model("LD4MRec", "theirs = True"))
        file = write(
            "models/mine.py",
            """
            from .ld4mrec import LD4MRec
            from models import pop
            class Mine:
                parts = LD4MRec, pop.Pop
                def late(self):
                    from models.ld4mrec import LD4MRec
                    return LD4MRec
            """,
        )
        ours = get_model("Pop")
        mine = load_model_class(find_model("Mine", file))
        assert mine.parts[0].theirs
        assert mine.parts[1] is ours
        with plugin_shims():
            assert mine().late() is mine.parts[0]
        assert not hasattr(get_model("LD4MRec"), "theirs")

    def test_checkout_lends_what_we_lack(self, write):
        write("src/common/loss.py", "1 / 0")  # ours comes first
        write("src/common/blocks/deep.py", "value = 1")
        write("src/utils/helpers.py", "value = 2")
        write("src/models/common/old.py", "value = 3")
        write("src/toplevel.py", "value = 4")
        file = write(
            "src/models/mine.py",
            """
            from common.loss import BPRLoss
            from models.common.loss import BPRLoss as Same
            import common.blocks.deep, toplevel, utils.helpers, models.common.old
            class Mine:
                values = [m.value for m in (common.blocks.deep, utils.helpers, models.common.old,
                                            toplevel)]
                same = BPRLoss is Same
            """,
        )
        mine = load_model_class(find_model("Mine", file))
        assert mine.values == [1, 2, 3, 4]
        assert mine.same
        other = write("elsewhere/models/mine.py", "import utils.helpers\n" + model("Mine"))
        with pytest.raises(PluginImportError, match=r"utils\.helpers, which neither"):
            load_model_class(find_model("Mine", other))

    def test_nothing_is_written_beside_it(self, write):
        write("models/part.py")
        file = write("models/mine.py", "import models.part\n" + model("Mine"))
        load_model_class(find_model("Mine", file))
        assert {p.name for p in file.parent.rglob("*")} == {"mine.py", "part.py"}

    def test_absent_package(self, write):
        file = write("mine.py", "import nowhere_to_be_found.x\n" + model("Mine"))
        with pytest.raises(
            PluginImportError,
            match=r"Mine .*needs the package nowhere_to_be_found, .*not installed",
        ):
            load_model_class(find_model("Mine", file))
        assert "models.mine" not in sys.modules

    def test_absent_name(self, write):
        file = write("mine.py", "from common.loss import Nothing\n" + model("Mine"))
        wanted = (
            r"imports Nothing from common.loss, which MMRec .*common/loss.py .*CHECKOUT -m Mine"
        )
        with pytest.raises(PluginImportError, match=wanted):
            load_model_class(find_model("Mine", file))
        file = write("other.py", "from torch import Nothing\n" + model("Other"))
        with pytest.raises(PluginImportError, match="cannot import name 'Nothing' from 'torch'"):
            load_model_class(find_model("Other", file))

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
            ("raise FileNotFoundError(2, 'No such file', 'x')", r"FileNotFoundError: .*'x'"),
            ("int('a')", "ValueError: invalid literal"),
            ("def f(): f()\nf()", "RecursionError: maximum recursion"),
        ],
    )
    def test_what_its_file_raises_is_a_sentence_with_its_lines(self, write, line, what):
        file = write("mine.py", f"x = 1\n{line}\n" + model("Mine"))
        with pytest.raises(
            PluginImportError, match=rf"model Mine cannot be imported: mine.py line \d, in .*{what}"
        ) as caught:
            load_model_class(find_model("Mine", file))
        assert caught.value.trace.startswith(f'  File "{file}", line ')
        assert "import_roots" not in caught.value.trace
        assert "models.mine" not in sys.modules

    def test_stand_ins_do_not_stay(self):
        with plugin_shims():
            load_model_class(find_model("NeighbourSample", PLUGINS))
            assert not any(is_stand_in(module) for module in sys.modules.values())


class LenientConfig(dict):
    """A configuration as third-party models see it."""

    def __missing__(self, key):
        return None


def loader():
    """What the plugins touch of the training loader, over the toy world."""
    users, items = np.array(support.TRAIN).T
    matrix = sp.coo_matrix((np.ones(len(users)), (users, items)), shape=(5, 7))
    history = {int(u): set(items[users == u].tolist()) for u in set(users.tolist())}
    data = SimpleNamespace(get_user_num=lambda: 5, get_item_num=lambda: 7)
    return SimpleNamespace(
        dataset=data,
        inter_matrix=lambda form="coo", value_field=None: matrix.asformat(form),
        history_items_per_u=history,
    )


@pytest.mark.parametrize("name", PLUGIN_MODELS)
def test_plugin_trains_and_scores(name, tmp_path):
    """Two epochs by hand; the whole host does the same in its own tests."""
    support.write_toy(tmp_path)
    config = LenientConfig(
        {"embedding_size": 8, "n_layers": 2, "reg_weight": 0.01, "feat_embed_dim": 8, "knn_k": 2},
        rank=3,
        sample_size=2,
        device=torch.device("cpu"),
        train_batch_size=4,
        NEG_PREFIX="neg__",
        ITEM_ID_FIELD="itemID",
        USER_ID_FIELD="userID",
        data_path=f"{tmp_path}/",
        dataset="toy",
        is_multimodal_model=name == "ItemKNNGraph",
        vision_feature_file="image_feat.npy",
        text_feature_file="text_feat.npy",
    )
    torch.manual_seed(0)
    data = loader()
    with plugin_shims():
        plugin = load_model_class(find_model(name, PLUGINS))(config, data).to(config["device"])
        optimizer = torch.optim.Adam(plugin.parameters(), lr=0.01)
        for _ in range(2):
            plugin.train()
            plugin.pre_epoch_processing()
            batch = torch.tensor([[0, 1, 2, 3, 0], [1, 3, 4, 5, 1], [4, 0, 5, 0, 3]])
            loss = plugin.calculate_loss(batch)
            loss = sum(loss) if isinstance(loss, tuple) else loss
            assert loss.numel() == 1
            assert loss.isfinite()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            plugin.post_epoch_processing()
        with torch.no_grad():
            scores = plugin.eval().full_sort_predict(
                [torch.tensor([0, 4]), torch.tensor([[0], [1]])]
            )
        assert scores.shape == (2, 7)
        assert scores.isfinite().all()
        if name == "ItemKNNGraph":  # the second model reads what the first one cached
            assert (tmp_path / "toy" / "item_adj_2.pt").is_file()
            again = type(plugin)(config, data)
            assert again.item_adj.to_dense().equal(plugin.item_adj.to_dense())
