"""Words of the command line: read as the schema's kinds say, text literally."""

import itertools
import random
import re

import pytest
import yaml

from ld4mrec.commands import compare, experiments, first_result, train
from ld4mrec.config.configuration import Config
from ld4mrec.config.meanings import explained, listed_keys, meanings
from ld4mrec.config.schema import ABOUT_KEYS, HOST, MIRROR, model_yamls
from ld4mrec.config.words import parse_overrides, seeds_of
from ld4mrec.errors import ConfigError, UserError
from ld4mrec.places import CONFIGS


def read(key, text):
    return parse_overrides([f"--{key}={text}"])[key]


@pytest.mark.parametrize(
    "text",
    [
        *("W/shop #1", "2024-11-30", "2024", "1e3", "off", "1:30", "runs: new", " 'a' ", "[a]"),
        *("{a}", "!!int ''", "&a", "*a", "none", "yes", "0x10", "~user", "a\\tb"),
    ],
)
def test_paths_and_text_are_taken_literally(text):
    assert read("runs_dir", text) == read("cache_dir", text) == read("how_to_get", text) == text


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "010", 10),
        ("seed", "[1, 02]", [1, 2]),
        ("epochs", "1e2", 100.0),
        ("epochs", "1_000", 1000),
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", ".5", 0.5),
        ("learning_rate", "{low: 1e-4, high: 1e-2, log: true}", "{low..}"),
        ("checkpoint_seconds", ".inf", float("inf")),
        ("soft_prob", "[0.1, 1e-2]", [0.1, 0.01]),
        ("deterministic", "True", True),
        ("deterministic", "off", False),
        ("deterministic", "[true, no]", [True, "no"]),  # the schema refuses the second
        ("cache_dir", "null", None),
        ("cache_dir", "None", None),
        ("runs_dir", "None", "None"),  # it cannot be null, so it is a name
        ("metrics", "Recall", "Recall"),
        ("metrics", "[Recall, NDCG]", ["Recall", "NDCG"]),
        ("activation", "off", "off"),
        ("activation", "1e3", "1e3"),
        ("activation", "[tanh, relu]", ["tanh", "relu"]),
        ("modalities", "{text: a.npy, image: 1:30}", {"text": "a.npy", "image": "1:30"}),
        ("beta_fixed", "1e-5", 1e-5),
        ("beta_fixed", "null", None),
        ("hyper_parameters", "[seed, soft_prob]", ["seed", "soft_prob"]),
        ("nobody_has_it", "2024-11-30", "2024-11-30"),
    ],
)
def test_a_word_is_read_as_its_kind(key, text, value):
    if value == "{low..}":
        value = {"low": 1e-4, "high": 1e-2, "log": True}
    assert read(key, text) == value
    assert type(read(key, text)) is type(value)


@pytest.mark.parametrize("key", ["runs_dir", "deterministic", "NEG_PREFIX", "epochs", "activation"])
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_value_is_an_error(key, text):
    with pytest.raises(ConfigError, match=f"--{key} has no value; write --{key}=value, or leave"):
        read(key, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[*a]", r"the value of --seed is not valid yaml: an alias \(\*\) at line 1"),
        ("&a [*a]", "--seed is"),
        ("[!!int '']", r"the value of --seed is not valid yaml: a tag \(!!int\) at line 1"),
        ("[" * 1000, "the value of --seed is n"),
        ("[&a [1], " + "*a," * 90 + "]", "an alias"),
    ],
)
def test_aliases_tags_and_depth_are_refused(text, message, tmp_path):
    if text.startswith("&"):  # text for a number: refused where it is checked
        assert read("seed", text) == text
        return
    with pytest.raises(ConfigError, match=message):
        read("seed", text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("300000000", "--seeds is 300000000; wanted 10000 at most"),
        ("9" * 100, "--seeds is a number of more than 80 digits; wanted 10000 at most"),
        ("0", "wanted a number from 1"),
        ("1,1", "different seeds"),
    ],
)
def test_seeds_have_a_limit(text, message):
    with pytest.raises(ConfigError, match=message):
        seeds_of(text)


def test_a_learner_is_suggested(capsys):
    assert train.main(["-m", "Pop", "-d", "demo", "--learner=adma"]) == 2
    assert "Did you mean 'adam'?" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["lr", "batch_size", "patience", "learning_rat"])
def test_what_others_call_a_key_is_suggested(word, capsys):
    meant = {"lr": "learning_rate", "batch_size": "train_batch_size", "patience": "stopping_step"}
    assert train.main(["-m", "Pop", "-d", "demo", f"--{word}=1"]) == 2
    error = capsys.readouterr().err
    assert f"Did you mean '{meant.get(word, 'learning_rate')}'" in error


ODD = (
    *('""', "null", "[]", "{}", "[[]]", "[1]", "yes", '"\\0"', ".nan", "-.inf", ".inf", "9" * 401),
    *("9" * 5000, "2024-11-30", "1:30", "{a: 1}", "{text: [1]}", "{text: null}", "x", "-1", "0"),
    *(
        "1.5",
        "[a, a]",
        "!!int x",
        "*a",
        "&a [*a]",
        "? a",
        "- b",
        "[1, [2, {a: b}]]",
        "'",
        "a: b: c",
    ),
    *("%", "@", "{max_norm: x}", "{low: 1, high: 2}", "[null, 1]", "1e400", "|", "[" * 3000),
)


def given(key, text, in_file, toy):
    """The points of a model where a data set's yaml or the command line has key and text."""
    (toy / "toy.yaml").write_text(f"{key}: {text}\n" if in_file else "", encoding="utf-8")
    keys = {} if in_file else parse_overrides([f"--{key}={text}"])
    return Config("DiffRec", "toy", {"data_path": f"{toy.parent}/"} | keys).points()


def test_whatever_a_key_is_given_is_taken_or_refused_with_a_sentence(toy):
    keys = [*HOST, "dims", "beta_fixed", "hyper_parameters", "defaults"]
    cases = list(itertools.product(keys, ODD, (True, False)))
    errors = []
    for case in random.Random(0).sample(cases, 700):
        try:
            given(*case, toy)
        except UserError as error:
            errors.append(str(error))
    assert 400 < len(errors) < 700
    assert max(map(len, errors)) < 1500


# --- help


def test_every_key_of_ours_has_a_meaning():
    host = meanings(CONFIGS / "overall.yaml") | meanings(CONFIGS / "mg.yaml")
    assert set(host) - set(ABOUT_KEYS) == {*HOST, *MIRROR}
    assert [key for key, found in host.items() if not found.text and key not in ABOUT_KEYS] == []
    for path in model_yamls():
        own = {key: found for key, found in meanings(path).items() if key not in ABOUT_KEYS}
        unsaid = [key for key, found in own.items() if not found.text and key not in HOST]
        assert (path.stem, unsaid) == (path.stem, [])


def test_meanings_have_the_values_that_yaml_reads():
    for path in [CONFIGS / "overall.yaml", *model_yamls()]:
        read = yaml.safe_load(path.read_text())
        found = {key: yaml.safe_load(found.value) for key, found in meanings(path).items()}
        assert found == read


def test_help_lists_all_keys_by_group(capsys):
    for command in (train, compare, experiments, first_result):
        with pytest.raises(SystemExit) as stop:
            command.main(["--help"])
        assert stop.value.code == 0
        out = capsys.readouterr().out
        assert listed_keys() in out
        assert [key for key in HOST if not re.search(rf"^  {key} ", out, re.M)] == []
        assert "\nmachine:\n" in out
        assert "\nDiffRec: dims time_size" in out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--help", "learner"], ["learner: one of adam, sgd", "default: adam", "tried"]),
        (["--help", "threads"], ["at most 1024", "default: 0", "all points of a grid share it"]),
        (["--help=--seed"], ["seed: a whole number of at least 0 and at most 4294967295"]),
        (["-h", "soft_prob"], ["soft_prob of LD4MRec: a number", "searched with --grid: [0.005,"]),
        (["-h", "dims"], ["dims of DiffMM: a list", "dims of DiffRec: a list", "[[300], [1000]"]),
        (["-h", "beta"], ["beta: a whole number", "every beta-th batch is mirrored"]),
        (["-h", "grid"], ["--grid: search the hyper-parameters' lists"]),
    ],
)
def test_help_explains_a_key(words, parts, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(words)
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert [part for part in parts if part not in out] == []


def test_help_names_the_key_nearest_to_a_mistyped_one(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--help", "lerning_rate"])
    assert stop.value.code == 2
    assert "no key 'lerning_rate'. Did you mean 'learning_rate'?" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="there is no key 'defaults'"):
        explained("defaults")


@pytest.mark.parametrize("word", ["-k", "-k5"])
def test_a_length_of_lists_belongs_to_another_command(word):
    with pytest.raises(ConfigError, match=r"Lengths of the lists are --topk=\[10,20\]; -k belongs"):
        parse_overrides([word, "5"])
