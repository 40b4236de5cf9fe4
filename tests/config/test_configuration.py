import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import support
from ld4mrec.config import configuration
from ld4mrec.config.configuration import Config
from ld4mrec.config.schema import ABOUT_KEYS, HOST, MIRROR, model_yamls
from ld4mrec.config.yaml_files import parse_yaml, read_yaml
from ld4mrec.data.features import modality_files
from ld4mrec.errors import ConfigError, UndeclaredKeyError
from support import config_for


@pytest.fixture
def theirs(tmp_path):
    """A third party's yaml: lists and no `defaults:` block."""
    path = tmp_path / "Theirs.yaml"
    path.write_text(
        "n_layers: [1, 2]\nreg_weight: [1e-3, 1e-04, 0.1]\nsizes: [64, 64]\nabsent_list: []\n"
        "hyper_parameters: [n_layers, reg_weight, absent_list, nowhere]\n"
    )
    return path


@pytest.fixture
def ours(tmp_path):
    path = tmp_path / "Ours.yaml"
    path.write_text(
        "p: [0.1, 0.2]\nwidth: 8\nname: some\nflag: True\noptional: null\n"
        "hyper_parameters: [p]\ndefaults: {p: 0.2}\n"
    )
    return path


def config(path, toy, overrides=None, **more):
    paths = {"data_path": f"{toy.parent}/"}
    return Config(path.stem, toy.name, paths | (overrides or {}), model_yaml=path, **more)


def values(points, *names):
    return [tuple(point[name] for name in names) for point in points]


def test_later_files_win_and_keys_are_replaced_whole(ours, toy):
    ours.write_text(ours.read_text() + "topk: [7]\nepochs: 3\n")
    made = config(ours, toy, {"epochs": 4})
    assert (made["topk"], made["epochs"], made["eval_step"]) == ([7], 4, 1)


def test_our_yaml_means_one_run_with_its_defaults(ours, toy):
    assert values(config(ours, toy).points(), "seed", "p") == [(999, 0.2)]


def test_grid_runs_the_lists_with_the_last_name_fastest(ours, toy):
    points = config(ours, toy, {"seed": [1, 2]}).points(grid=True)
    assert values(points, "seed", "p") == [(1, 0.1), (1, 0.2), (2, 0.1), (2, 0.2)]


def test_a_yaml_without_defaults_means_its_grid(theirs, toy):
    points = config(theirs, toy, ours=False).points()
    assert len(points) == 6
    assert values(points[:2], "n_layers", "reg_weight") == [(1, 1e-3), (1, 1e-4)]
    assert points[0]["sizes"] == [64, 64]  # a list that is no hyper-parameter stays a list
    assert points[0]["absent_list"] is points[0]["nowhere"] is None


def test_overriding_a_grid_key_replaces_default_or_list(ours, toy):
    assert values(config(ours, toy, {"p": 0.7}).points(), "p") == [(0.7,)]
    assert values(config(ours, toy, {"p": 0.7}).points(grid=True), "p") == [(0.7,)]
    assert values(config(ours, toy, {"p": [0.5, 0.6]}).points(grid=True), "p") == [(0.5,), (0.6,)]
    with pytest.raises(ConfigError, match=r"'p' got the values \[0.5, 0.6\].*add --grid"):
        config(ours, toy, {"p": [0.5, 0.6]}).points()


def test_a_hyper_parameter_without_default_is_named(ours, toy):
    ours.write_text(ours.read_text().replace("[p]", "[p, width]"))
    with pytest.raises(
        ConfigError, match=r"'width' is a hyper-parameter without a value.*--width=VALUE"
    ):
        config(ours, toy).points()


def test_the_callers_hyper_parameters_replace_the_list(theirs, toy):
    points = config(theirs, toy, {"hyper_parameters": ["n_layers"]}, ours=False).points()
    assert values(points, "n_layers", "seed") == [(1, 999), (2, 999)]


def test_what_the_callers_list_leaves_out_has_its_default(toy):
    keys = {"data_path": f"{toy.parent}/", "topk": [5], "valid_metric": "recall@5"}
    listed = Config("BPR", toy.name, keys | {"hyper_parameters": ["reg_weight"]})
    default = Config("BPR", toy.name, keys).points(grid=False)[0]["learning_rate"]
    points = listed.points(grid=True)
    assert len(points) > 1
    assert {point["learning_rate"] for point in points} == {default}
    with pytest.raises(ConfigError, match="hyper_parameters lists '5', which no yaml declares"):
        Config("BPR", toy.name, keys | {"hyper_parameters": ["5"]})


def test_a_hyper_parameter_that_nobody_knows_is_refused(ours, toy):
    with pytest.raises(
        ConfigError, match=r"hyper_parameters lists 'widht', .*Did you mean 'width'"
    ):
        config(ours, toy, {"hyper_parameters": "widht"})


def test_what_all_points_share_is_no_hyper_parameter(ours, toy):
    with pytest.raises(
        ConfigError, match="'threads' cannot be a hyper-parameter: all points share"
    ):
        config(ours, toy, {"hyper_parameters": ["threads"]})


def test_naming_a_feature_file_replaces_the_modality(toy):
    other = config_for(toy, text_feature_file="other.npy")
    assert other["modalities"] == {"image": "image_feat.npy", "text": "other.npy"}


def test_a_feature_file_can_be_named_where_none_was_found(toy):
    for path in toy.glob("*.npy"):
        path.rename(path.with_name(f"my_{path.name.split('_')[0]}.npy"))
    config = config_for(toy, text_feature_file="my_text.npy")
    assert config["modalities"] is None
    assert list(modality_files(config)) == ["text"]


def test_one_and_one_point_zero_are_the_same(ours, toy):
    assert repr(config(ours, toy, {"learning_rate": 1})["learning_rate"]) == "1.0"


def test_points_do_not_share_what_they_hold(ours, toy):
    first, second = config(ours, toy).points(grid=True)
    first["topk"].append(99)
    first["width"] = 1
    assert (second["topk"][-1], second["width"]) == (50, 8)


def test_an_unknown_key_names_the_nearest(ours, toy):
    with pytest.raises(
        ConfigError, match=r"unknown key 'learning_rat'.*Did you mean 'learning_rate'"
    ):
        config(ours, toy, {"learning_rat": 0.1})


def test_our_models_may_not_read_what_no_yaml_declares(ours, toy):
    made = config(ours, toy)
    with pytest.raises(UndeclaredKeyError, match=r"'widht' is read.*Did you mean 'width'"):
        made["widht"]
    assert made["optional"] is None
    assert "widht" not in made
    assert "width" in made


def test_third_parties_read_none(theirs, toy):
    assert config(theirs, toy, ours=False)["degree_ratio"] is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", "ten", r"epochs is 'ten'; wanted a whole number of at least 1"),
        ("flag", 1, r"flag is 1; wanted True or False"),
        ("name", 3, r"name is 3; wanted text such as 'some', in quotes"),
        ("p", "x", r"p is 'x'; wanted a number"),
        ("topk", ["x"], r"topk is \['x'\]; wanted a list of .* whole numbers, not 'x'"),
        ("data_path", 3, r"data_path is 3; wanted text such as '../data/', in quotes"),
        ("data_path", None, "data_path is None; wanted text"),
        ("cache_dir", "\0", r"cache_dir is '\\x00'; wanted text .*it has a control character"),
        ("cache_dir", "", "cache_dir is ''; wanted text .*it is empty"),
        ("vision_feature_file", {"a": 1}, "vision_feature_file is {'a': 1}; wanted text"),
        ("inter_splitting_label", [[]], r"inter_splitting_label is \[\[\]\]; wanted text"),
        ("inter_file_name", [1], r"inter_file_name is \[1\]; wanted text"),
        ("inter_file_name", "x" * 256, "inter_file_name is .*more than 255 bytes"),
        ("inter_file_name", True, "inter_file_name is True; wanted text"),
        ("modalities", 5, r"modalities is 5; wanted {name: file}"),
        ("modalities", {"text": 1.5}, r"modalities is {'text': 1.5}; .*: text such as"),
        ("USER_ID_FIELD", ["a"], r"USER_ID_FIELD is \['a'\]; wanted text"),
        ("deterministic", None, "deterministic is None; wanted True or False"),
        ("threads", 100000, "threads is 100000; wanted .* at most 1024"),
        ("seed", 10**400, "seed is a number of more than 80 digits; wanted a whole number"),
        ("width", 2**63 - 1, "width is 9223372036854775807; wanted a number of at most 1000000"),
        ("width", float("nan"), "width is nan; wanted a number"),
        ("optional", 10**400, "optional is a number of more than 80 digits; wanted numbers"),
        ("optional", [[10**400]], "optional is a list; wanted numbers"),
        (5, 1, "keys of a configuration are text, got 5"),
        ("hyper_parameters", [[1]], r"hyper_parameters is \[\[1\]\]; wanted a list of different"),
        ("hyper_parameters", 5, "hyper_parameters is 5; wanted a list of different keys"),
    ],
)
def test_a_value_of_another_kind_is_refused(ours, toy, key, value, message):
    with pytest.raises(ConfigError, match=message):
        config(ours, toy, {key: value})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epochs": 0}, "epochs is 0; wanted a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs is 1.5; wanted a whole number"),
        ({"seed": -1}, "seed is -1; wanted a whole number of at least 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; wanted a positive number"),
        ({"learning_rate": float("inf")}, "learning_rate is inf; wanted a positive number"),
        ({"weight_decay": -1}, "weight_decay is -1; wanted a number of at least 0"),
        ({"topk": [5, 5]}, r"topk is \[5, 5\]; wanted a list of different"),
        ({"learning_rate_scheduler": [-1, 50]}, r"learning_rate_scheduler is .* with a > 0"),
        ({"clip_grad_norm": {"norm": 5}}, "clip_grad_norm is .*wanted keywords such as"),
        ({"learner": "adamm"}, "learner is 'adamm'; wanted one of adam.*Did you mean 'adam'"),
        ({"topk": [0]}, r"topk is \[0\]; wanted a list of different positive"),
        ({"metrics": ["Recal"]}, "metrics is .*, not 'Recal'. Did you mean 'recall'"),
        (
            {"valid_metric": "Recall@7"},
            "valid_metric is 'Recall@7'; wanted one of the metrics x topk",
        ),
        (
            {"learning_rate_scheduler": [0.9]},
            r"learning_rate_scheduler is \[0.9\]; wanted \[a, b\]",
        ),
        ({"clip_grad_norm": 5}, "clip_grad_norm is 5; wanted keywords"),
    ],
)
def test_a_value_that_no_run_can_use_is_refused(ours, toy, overrides, message):
    with pytest.raises(ConfigError, match=message):
        config(ours, toy, overrides).points()


def test_whole_numbers_written_as_floats_count(ours, toy):
    assert type(config(ours, toy, {"epochs": 1e2})["epochs"]) is int


def test_one_value_where_a_list_is_wanted(ours, toy):
    made = config(ours, toy, {"topk": 20, "metrics": "Recall"}).points()[0]
    assert (made["topk"], made["metrics"]) == ([20], ["Recall"])


def test_paths_of_yaml_files_are_relative_to_the_source_and_of_callers_to_their_folder(
    ours, toy, monkeypatch
):
    monkeypatch.chdir(toy.parent.parent)
    made = Config("Ours", toy.name, {"data_path": toy.parent.name}, model_yaml=ours)
    assert made["data_path"] == f"{toy.parent}/"
    assert made["runs_dir"] == f"{support.ROOT / 'runs'}/"


def test_an_unknown_data_set_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown data set 'tiktik'.*Did you mean 'tiktok'"):
        Config("Pop", "tiktik", {"data_path": str(tmp_path)})
    (tmp_path / "baby").mkdir()  # it has a yaml, too
    (tmp_path / "baby" / "baby.inter").touch()
    with pytest.raises(ConfigError, match=r"Known: baby, demo"):
        Config("Pop", "nothing like it", {"data_path": str(tmp_path)})


def test_a_data_set_without_yaml_follows_the_naming(toy):
    assert config_for(toy)["modalities"] == {"image": "image_feat.npy", "text": "text_feat.npy"}


def test_a_yaml_in_the_data_folder_counts(toy):
    (toy / "toy.yaml").write_text("modalities: {sound: image_feat.npy}\n")
    assert config_for(toy)["modalities"] == {"sound": "image_feat.npy"}


def test_broken_yaml_is_named(ours, toy):
    ours.write_text("a: [1\n")
    with pytest.raises(ConfigError, match=r"Ours.yaml is not valid yaml: .*\n  line 1, column 4"):
        config(ours, toy)
    ours.write_text("- a\n")
    with pytest.raises(ConfigError, match=r"Ours.yaml holds a list; wanted lines of 'key: value'"):
        config(ours, toy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"learning_rate: 1\xff", r"ours\.yaml is not text in UTF-8 .*save it as UTF-8"),
        ("learning_rate: 1".encode("utf-16"), r"ours\.yaml is not text in UTF-8"),
        (b"a: &a [1]\nb: *a\n", r"ours\.yaml is not valid yaml: an alias \(\*\) at line 2"),
        (b"&a [*a]", r"ours\.yaml is not valid yaml: an alias"),
        (b"a: " + b"[" * 5000, r"ours\.yaml is nested too deeply"),
        (
            b"a: 1\nb: 2\n\na: 3\n",
            r"ours\.yaml is not valid yaml: the key 'a' stands at line 1 and again at line 4; keep",
        ),
        (b"b:\n  1: x\n  0x1: y\n", r"the key 1 stands at line 2 and again at line 3"),
        (b"{b: [{a: 1, a: 1}]}", r"the key 'a' stands at line 1 and again at line 1"),
    ],
    ids=["byte", "UTF-16", "alias", "itself", "brackets", "twice", "twice as 0x1", "twice within"],
)
def test_yaml_that_cannot_be_read_is_named(tmp_path, text, message):
    file = tmp_path / "ours.yaml"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("valid_metric: Recall@20", ""), r"overall.yaml lacks 'valid_metric'"),
        (("learning_rate_scheduler: [1.0, 50]", ""), "lacks 'learning_rate_scheduler'"),
        (("learner: adam", "lerner: adam"), "has 'lerner', which is no key .*mean 'learner'"),
        (("epochs: 1000", "epochs: -1"), "overall.yaml: epochs is -1; wanted a whole number"),
        (("epochs: 1000", "epochs: " + "9" * 401), "epochs is a number of more than 80 digits"),
        (("epochs: 1000", "epochs: " + "9" * 5000), "overall.yaml is not valid yaml"),
        (("runs_dir: ../runs/", "runs_dir: 2024-11-30"), "runs_dir is .*; wanted text .*in quotes"),
        (
            ("data_path: ../data/", "data_path: null"),
            "overall.yaml: data_path is None; wanted",
        ),
        (
            ("defaults: {seed: 999}", 'defaults: "\\0"'),
            r"overall.yaml: defaults is '\\x00'; want",
        ),
        (("defaults: {seed: 999}", "defaults: .nan"), "overall.yaml: defaults is nan; wanted one"),
        (("defaults: {seed: 999}", "defaults: {sede: 9}"), "defaults has 'sede', .*mean 'seed'"),
        (("defaults: {seed: 999}", "defaults: {seed: x}"), "overall.yaml: seed is 'x'; wanted"),
        (("hyper_parameters: [seed]", "hyper_parameters: 5"), "hyper_parameters is 5; wanted a li"),
        (("epochs: 1000", "epochs: 1000\n5: 1"), "overall.yaml has '5', which is no key"),
    ],
)
def test_a_damaged_overall_yaml_is_named(ours, toy, tmp_path, monkeypatch, change, message):
    text = (configuration.CONFIGS / "overall.yaml").read_text()
    assert change[0] in text
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "overall.yaml").write_text(text.replace(*change))
    monkeypatch.setattr(configuration, "CONFIGS", configs)
    with pytest.raises(ConfigError, match=message):
        config(ours, toy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "text_feature_flie: a.npy\n",
            "'text_feature_flie', .*no key of a data set.*'text_feat",
        ),
        (
            "vision_feature_file: {a: 1}\n",
            r"toy.yaml: vision_feature_file is {'a': 1}; wanted",
        ),
        ("inter_splitting_label: [[]]\n", r"toy.yaml: inter_splitting_label is \[\[\]\]; wanted"),
        ("inter_file_name: [1]\n", r"toy.yaml: inter_file_name is \[1\]; wanted text"),
        ("inter_file_name: 2024\n", "toy.yaml: inter_file_name is 2024; wanted text .*in quotes"),
        ("modalities: 5\n", "toy.yaml: modalities is 5; wanted {name: file}"),
        ("modalities: {text: 1.5}\n", "toy.yaml: modalities is .*wanted {name: file}"),
        ("USER_ID_FIELD: [a]\n", r"toy.yaml: USER_ID_FIELD is \['a'\]; wanted text"),
        ("hyper_parameters: 5\n", "toy.yaml: hyper_parameters is 5; wanted a list"),
        ("hyper_parameters: [[seed]]\n", "toy.yaml: hyper_parameters is .*; wanted a list"),
        ("seed: !!int ''\n", r"toy.yaml is not valid yaml: a tag \(!!int\) at line 1"),
        ("seed: !!bool x\n", r"a tag \(!!bool\) at line 1"),
        ("1.5: a\n", "toy.yaml has '1.5', which is no key of a data set"),
    ],
)
def test_a_data_sets_yaml_that_cannot_be_meant_is_named(ours, toy, text, message):
    (toy / "toy.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        config(ours, toy)


def test_a_data_sets_yaml_may_have_a_plugins_keys(theirs, toy):
    (toy / "toy.yaml").write_text("n_layers: 3\nitem_graph_dict_file: a.npy\n")
    made = config(theirs, toy, ours=False)
    assert (made["item_graph_dict_file"], made["n_layers"]) == ("a.npy", [1, 2])
    (toy / "toy.yaml").write_text("text_feature_flie: a.npy\n")
    with pytest.raises(ConfigError, match="text_feature_flie.*Did you mean 'text_feature_file'"):
        config(theirs, toy, ours=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p: [0.1, x]\nhyper_parameters: [p]\ndefaults: {p: x}", "p is 'x'; wanted a number"),
        ("epochs: ten", "Ours.yaml: epochs is 'ten'; wanted a whole number"),
        ("learning_rate: [1e-3, 1e-4]", r"learning_rate is \[.*\]; wanted a positive number"),
        (
            "learning_rate: [1e-3, x]\nhyper_parameters: [learning_rate]",
            "learning_rate is 'x'; wanted a positive number",
        ),
        ("width: " + "9" * 401, "width is a number of more than 80 digits; wanted a number"),
    ],
)
def test_a_models_yaml_that_cannot_be_meant_is_named(ours, toy, text, message):
    ours.write_text(text + "\n")
    with pytest.raises(ConfigError, match=message):
        config(ours, toy)


def test_a_mistyped_key_of_the_host_in_our_models_yaml_is_named(ours, toy):
    ours.write_text(ours.read_text() + "stoping_step: 5\n")
    assert config(ours, toy)["stoping_step"] == 5  # no source of such a model is there
    bpr = ours.with_name("BPR.yaml")
    bpr.write_text("reg_weight: [1]\nhyper_parameters: [reg_weight]\nstoping_step: 5\n")
    with pytest.raises(ConfigError, match="'stoping_step', which nothing reads. .*'stopping_step'"):
        config(bpr, toy)


def test_a_list_for_any_key_makes_it_an_axis(ours, toy):
    made = config(ours, toy, {"learning_rate": [1e-3, 3e-4], "width": [8, 16]})
    points = made.points(grid=True)
    names = ("p", "learning_rate", "width")
    assert values(points[:5], *names) == [
        (0.1, 1e-3, 8),
        (0.1, 1e-3, 16),
        (0.1, 3e-4, 8),
        (0.1, 3e-4, 16),
        (0.2, 1e-3, 8),
    ]
    with pytest.raises(ConfigError, match=r"'learning_rate' got the values .*add --grid"):
        made.points()
    assert config(ours, toy, {"learning_rate": [1e-3]}).points()[0]["learning_rate"] == 1e-3
    schedules = config(ours, toy, {"learning_rate_scheduler": [[1.0, 50], [0.9, 10]]})
    assert len(schedules.points(grid=True)) == 4
    with pytest.raises(ConfigError, match=r"threads is \[1, 2\]; wanted a whole number"):
        config(ours, toy, {"threads": [1, 2]})
    with pytest.raises(ConfigError, match="learning_rate is 'x'; wanted a positive number"):
        config(ours, toy, {"learning_rate": [1e-3, "x"]})


def test_every_trained_models_yaml_lists_its_learning_rate():
    for path in model_yamls():
        keys = read_yaml(path)
        if keys.get("req_training", True) and path.stem != "LD4MRec":
            assert (path.stem, "learning_rate" in keys["hyper_parameters"]) == (path.stem, True)
            assert keys["defaults"]["learning_rate"] in keys["learning_rate"]


def test_the_schema_has_the_keys_of_the_files():
    assert [*read_yaml(configuration.CONFIGS / "overall.yaml")][: -len(ABOUT_KEYS)] == [*HOST]
    assert [*read_yaml(configuration.CONFIGS / "mg.yaml")] == [*MIRROR]


def test_a_number_beyond_floats_is_refused(ours, toy):
    with pytest.raises(ConfigError, match="wanted a number"):
        config(ours, toy, {"weight_decay": 10**400})


def test_yaml_cannot_make_objects(ours, toy):
    ours.write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match=r"a tag \(!!python/object/apply:os.getcwd\) at line 1"):
        config(ours, toy)


def test_mirror_gradient_brings_its_keys(ours, toy):
    assert config(ours, toy, mg=True)["alpha2"] == 0.1
    with pytest.raises(ConfigError, match="beta is 0; wanted a whole number of at least 1"):
        config(ours, toy, {"beta": 0}, mg=True).points()
    with pytest.raises(ConfigError, match="unknown key 'alpha2'"):
        config(ours, toy, {"alpha2": 0.2})


@pytest.mark.parametrize("text", ["1e-4", "1e-04", "1E-4", "0.0001", "1.0e-4", ".1e-3"])
def test_numbers_as_people_write_them(text):
    assert parse_yaml(text, "here") == 1e-4


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abc xyz")
)


@given(st.dictionaries(st.text("abc", min_size=1), scalars | st.lists(scalars)))
def test_what_yaml_writes_is_read_back(value):
    assert parse_yaml(yaml.safe_dump(value), "here") == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_the_command_line(number):
    assert parse_yaml(repr(number), "here") == number


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=3), min_size=1, max_size=4))
def test_the_grid_is_the_product_in_order(lists):
    keys = [f"k{i}" for i in range(len(lists))]
    made = Config.__new__(Config)
    made.has_defaults, made.defaults, made.overridden = False, {}, []
    base = Config("Pop", "demo").final_config_dict
    made.final_config_dict = (
        base | dict(zip(keys, lists, strict=True)) | {"hyper_parameters": keys, "seed": 1}
    )
    points = values(made.points(grid=True), *keys)
    expected = [()]
    for column in lists:
        distinct = list(dict.fromkeys(column))  # the same value twice is the same run
        expected = [(*head, tail) for head in expected for tail in distinct]
    assert points == expected


def test_a_length_of_lists_by_another_name():
    with pytest.raises(ConfigError, match="unknown key 'k'.* Did you mean 'topk'"):
        Config("Pop", "tiktok", {"k": 5})
    with pytest.raises(ConfigError, match=r"mean 'recall@5'\? Give --valid_metric with --topk"):
        Config("Pop", "tiktok", {"topk": [5]}).points(grid=False)
