"""What is compared: names, settings files, variants, the best point of a grid."""

import pytest

import support
from ld4mrec.comparison.entries import Entry, check_shared, entries, read_settings
from ld4mrec.comparison.tuning import tuning_of
from ld4mrec.errors import ConfigError, UserError
from ld4mrec.search.train import run

KEYS = {"embedding_size": 4, "epochs": 1, "topk": [10, 20], "threads": 1, "train_batch_size": 64}


@pytest.fixture
def keys(blocks, tmp_path):
    paths = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    return KEYS | paths | {"cache_dir": None}


def test_names_mean_the_yaml_defaults(keys):
    found = entries(["BPR", "Pop"], "blocks", {k: v for k, v in keys.items() if k[0] != "e"})
    assert found == [Entry(name, name, {}, "yaml defaults") for name in ("BPR", "Pop")]


def test_a_settings_file_gives_labels_models_and_values(keys, tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text("BPR weak: {model: BPR, reg_weight: 1.0e-5}\nBPR: {}\n")
    weak, plain = entries(None, "blocks", keys, path)
    assert weak == Entry("BPR weak", "BPR", {"reg_weight": 1e-5}, "settings of best.yaml")
    assert plain == Entry("BPR", "BPR", {}, "settings of best.yaml")


def test_a_model_with_variants_has_a_row_for_each(keys):
    found = entries(["LATTICE"], "blocks", keys)
    assert [one.label for one in found] == ["LATTICE (faithful)", "LATTICE (repaired)"]
    assert [one.settings for one in found] == [{"variant": "faithful"}, {"variant": "repaired"}]
    (chosen,) = entries(["LATTICE"], "blocks", keys | {"variant": "repaired"})
    assert chosen.label == "LATTICE"


def test_one_variant_is_named_as_reports_label_it(keys):
    found = entries(["LD4MRec", "LD4MRec (paper)", "LATTICE (repaired)"], "blocks", keys)
    assert [one.label for one in found] == ["LD4MRec", "LD4MRec (paper)", "LATTICE (repaired)"]
    assert [one.model for one in found] == ["LD4MRec", "LD4MRec", "LATTICE"]
    assert [one.settings.get("variant") for one in found] == [None, "paper", "repaired"]


def test_names_that_do_not_exist_are_refused(keys, tmp_path):
    with pytest.raises(UserError, match=r"LightGCN"):
        entries(["LightGNC"], "blocks", keys)
    with pytest.raises(ConfigError, match="BPR given twice"):
        entries(["BPR", "BPR"], "blocks", keys)
    path = tmp_path / "best.yaml"
    path.write_text("BPR: {reg_weight: 1.0}\n")
    with pytest.raises(ConfigError, match="has settings for 'BPR', not compared"):
        entries(["LightGCN"], "blocks", keys, path)


@pytest.mark.parametrize("text", ["- BPR", "BPR: 3"])
def test_a_settings_file_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "best.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="must hold lines of 'Model: "):
        read_settings(path)
    with pytest.raises(ConfigError, match="there is no settings file"):
        read_settings(tmp_path / "absent.yaml")


@pytest.mark.parametrize("value", ["null", "5", "[BPR]"])
def test_a_model_that_is_no_name_is_refused(tmp_path, value):
    path = tmp_path / "settings.yaml"
    path.write_text(f"mine: {{model: {value}}}\n")
    with pytest.raises(ConfigError, match="settings.yaml: the model of mine is .*; wanted a model"):
        read_settings(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("model: BPR, embedding_size: wide", "embedding_size is 'wide'; wanted a number"),
        ("model: BPR, learning_rate: -1", "learning_rate is -1; wanted a positive number"),
        ("model: BPR, learning_rate: [0.1, x]", "learning_rate is 'x'; wanted a positive number"),
        ("model: BPR, epochs: 2.5", "epochs is 2.5; wanted a whole number"),
        ("model: BPR, deterministic: perhaps", "deterministic is 'perhaps'; wanted True or False"),
        ("model: Pop, topk: [0]", r"topk is \[0\]; wanted a list of different positive whole"),
        ("model: Pop, learnin_rate: 1", "unknown key 'learnin_rate'.* Did you mean"),
    ],
)
def test_values_of_a_settings_file_are_checked_by_the_schema(keys, tmp_path, values, message):
    (tmp_path / "rows.yaml").write_text(f"fine: {{model: Pop}}\nmine: {{{values}}}\n")
    with pytest.raises(ConfigError, match=f"rows.yaml, mine: {message}"):
        entries(None, "blocks", {"data_path": keys["data_path"]}, tmp_path / "rows.yaml")


def test_tuning_takes_the_best_point_on_validation_and_names_an_edge(keys):
    entry = Entry(
        "BPR", "BPR", {"reg_weight": [1e-1, 1e-3, 1e-5], "learning_rate": [1e-3]}, "yaml defaults"
    )
    untouched = tuning_of(entry, "blocks", keys, 1).best(trains=False)
    assert untouched.settings == entry.settings  # nothing of the grid is finished
    assert untouched.warnings[0].startswith("BPR: no point of its grid is finished")
    found = tuning_of(entry, "blocks", keys, 1).best(trains=True)
    runs = run("BPR", "blocks", keys | entry.settings | {"seed": [1]}, grid=True)
    best = max(runs, key=lambda one: one.result["valid"]["recall@20"])
    value = best.config.point["reg_weight"]
    assert found.settings["reg_weight"] == value
    assert found.origin == "best of 3 of 3 grid points on validation, seed 1"
    assert bool(found.warnings) == (value != 1e-3)
    assert tuning_of(entry, "blocks", keys, 1).best(trains=False) == found


def test_a_model_without_a_grid_is_not_tuned(keys):
    entry = Entry("Pop", "Pop", {}, "yaml defaults")
    host = {k: v for k, v in keys.items() if k != "embedding_size"}
    assert tuning_of(entry, "blocks", host, 1).best(trains=True) == entry


THEIRS = support.ROOT / "tests" / "plugins" / "theirs"


def test_a_plugins_models_become_rows(keys, tmp_path):
    where = {"data_path": keys["data_path"]}
    file = THEIRS / "graphmf.py"
    ours, theirs = entries(["BPR"], "blocks", where, plugins=[file])
    assert (ours.label, ours.plugin) == ("BPR", None)
    assert theirs == Entry("GraphMF", "GraphMF", {}, "yaml defaults", plugin=str(file))
    (theirs,) = entries(["GraphMF"], "blocks", where, plugins=[THEIRS])
    assert (theirs.model, theirs.plugin) == ("GraphMF", str(THEIRS))
    with pytest.raises(ConfigError, match=r"has \d+ models and -m names none of them: .*GraphMF"):
        entries(["BPR"], "blocks", where, plugins=[THEIRS])
    with pytest.raises(ConfigError, match="GraphMF is in .*graphmf.py and in"):
        entries(["GraphMF"], "blocks", where, plugins=[file, THEIRS])
    check_shared(
        entries(["BPR"], "blocks", where, plugins=[file]), "blocks", where | {"embedding_size": 4}
    )


def test_a_plugin_called_like_one_of_ours_keeps_a_label_of_its_own(keys, tmp_path):
    text = (THEIRS / "graphmf.py").read_text(encoding="utf-8")
    (tmp_path / "bpr.py").write_text(text.replace("GraphMF", "BPR"), encoding="utf-8")
    where = {"data_path": keys["data_path"]}
    ours, theirs = entries(["BPR"], "blocks", where, plugins=[tmp_path / "bpr.py"])
    assert (ours.label, theirs.label, theirs.model) == ("BPR", "BPR (plugin)", "BPR")
    assert ours.source.in_tree
    assert theirs.source.file == tmp_path / "bpr.py"
    settings = tmp_path / "rows.yaml"
    settings.write_text("A: {model: BPR}\nB: {model: BPR (plugin), n_layers: 1}\n")
    first, second = entries(None, "blocks", where, settings, [tmp_path / "bpr.py"])
    assert (first.plugin, second.plugin) == (None, str(tmp_path / "bpr.py"))
    assert second.settings == {"n_layers": 1}
