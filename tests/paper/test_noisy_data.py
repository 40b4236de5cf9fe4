"""Random interactions: which, how many, from which seed; the folder that they are written to."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import support
from ld4mrec.data.features import load_features
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError, DataError
from ld4mrec.paper.noisy_data import noisy_folder, random_pairs


@st.composite
def worlds(draw):
    """(users, items, taken pairs, how many of the others to add)"""
    users, items = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    every = [(u, i) for u in range(users) for i in range(items)]
    taken = draw(st.sets(st.sampled_from(every)))
    allowed = draw(st.sets(st.integers(0, users - 1), min_size=1))
    free = [pair for pair in every if pair not in taken and pair[0] in allowed]
    n = draw(st.integers(0, len(free)))
    return sorted(allowed), items, np.array(sorted(taken)).reshape(-1, 2), n, free


@given(worlds(), st.integers(0, 2**31))
def test_pairs_are_new_distinct_and_of_the_seed(world, seed):
    users, items, taken, n, free = world
    pairs = random_pairs(users, items, taken, n, seed)
    found = [tuple(pair) for pair in pairs.tolist()]
    assert len(found) == len(set(found)) == n
    assert set(found) <= set(free)
    assert np.array_equal(pairs, random_pairs(users, items, taken, n, seed))
    assert np.array_equal(pairs[: n // 2], random_pairs(users, items, taken, n // 2, seed))


def test_all_free_pairs_can_be_had_and_no_more():
    taken = np.array([(0, 0), (1, 2), (3, 1)])  # user 3 may not occur
    pairs = random_pairs([0, 1], 3, taken, 4, 5)
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (0, 2), (1, 0), (1, 1)]
    with pytest.raises(DataError, match="5 pairs to add, but 4 user-item pairs are in no split"):
        random_pairs([0, 1], 3, taken, 5, 5)


def test_pairs_are_uniform():
    taken = np.array([(0, 0)])
    firsts = [tuple(random_pairs([0, 1], 2, taken, 1, seed)[0].tolist()) for seed in range(300)]
    counts = pd.Series(firsts).value_counts()
    assert len(counts) == 3  # three free pairs, 100 expected of each, 8 a standard deviation
    assert (counts - 100).abs().max() < 33


@pytest.fixture
def config(blocks, tmp_path):
    return support.config_for(blocks, cache_dir=f"{tmp_path / 'cache'}")


def read(folder):
    return pd.read_csv(folder / f"{folder.name}.inter", sep="\t")


def test_a_folder_holds_the_original_and_its_share_more(config, blocks):
    folder = noisy_folder(config, 0.1, 3)
    before, after = read(blocks), read(folder)
    n_train = int((before.x_label == 0).sum())
    added = after[len(before) :]
    assert after[: len(before)].equals(before)  # test and validation, too
    assert len(added) == round(0.1 * n_train)
    assert (added.x_label == 0).all()
    assert not after.duplicated(["userID", "itemID"]).any()
    made = json.loads((folder / "manifest.json").read_text())
    assert (made["share"], made["seed"], made["added"]) == (0.1, 3, len(added))
    assert folder.name == "blocks_noise10_seed3"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_host_reads_it_with_the_same_features_and_test_split(config, blocks):
    folder = noisy_folder(config, 0.25, 1)
    noisy = support.config_for(folder, "VBPR")
    data, original = RecDataset(noisy), RecDataset(support.config_for(blocks, "VBPR"))
    for mine, theirs in zip(data.split()[1:], original.split()[1:], strict=True):
        assert mine.df.equals(theirs.df)
    features = load_features(noisy, data.get_item_num())
    assert sorted(features.modalities) == ["image", "text"]
    assert (folder / "text_feat.npy").is_symlink()


def test_a_user_without_training_rows_stays_without(tmp_path):
    folder = tmp_path / "data" / "small"
    rows = [(0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 2, 2), (2, 3, 2), (0, 4, 0), (1, 5, 0)]
    support.write_inter(folder, rows)
    config = support.config_for(folder, cache_dir=str(tmp_path / "cache"))
    made = noisy_folder(config, 1.0, 0)
    added = read(made)[len(rows) :]
    assert len(added) == 4
    assert 2 not in added.userID.tolist()
    assert RecDataset(support.config_for(made)).dropped == RecDataset(config).dropped


def test_it_is_made_once_and_again_for_other_data(config, blocks):
    folder = noisy_folder(config, 0.05, 1)
    stamp = (folder / f"{folder.name}.inter").stat().st_mtime_ns
    assert noisy_folder(config, 0.05, 1) == folder
    assert (folder / f"{folder.name}.inter").stat().st_mtime_ns == stamp
    assert noisy_folder(config, 0.05, 2) != folder
    with open(blocks / "blocks.inter", "a", encoding="utf-8") as file:
        file.write("0\t39\t0\n")
    assert noisy_folder(config, 0.05, 1) != folder


def test_it_wants_a_place(blocks):
    with pytest.raises(ConfigError, match="writes its data sets into cache_dir, which is null"):
        noisy_folder(support.config_for(blocks), 0.05, 1)


@pytest.mark.parametrize("name", ["manifest.json", "inter"])
def test_a_damaged_folder_is_made_anew(config, name, caplog):
    folder = noisy_folder(config, 0.1, 3)
    path = folder / (name if "." in name else f"{folder.name}.{name}")
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    assert noisy_folder(config, 0.1, 3) == folder
    assert f"{folder} is damaged: making it anew" in caplog.text
    assert path.read_bytes() == content
