"""Features that are masked, constant, noise or permuted; the folders that they are written to."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import support
from ld4mrec.data.features import load_features
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError, DataError
from ld4mrec.paper import knockout, missing
from ld4mrec.paper.changed_features import changed, changed_folder, masked_items, modalities_of
from ld4mrec.paper.runs import Setup

ROWS = np.random.default_rng(0).normal(3.0, 2.0, size=(50, 4)).astype(np.float32)


@given(st.integers(1, 200), st.floats(0, 0.9), st.floats(0, 0.9), st.integers(0, 2**31))
def test_masked_items_are_the_share_and_nested(items, share, other, seed):
    if round(max(share, other) * items) >= items:
        return
    one, two = (masked_items(items, each, seed).tolist() for each in sorted((share, other)))
    assert len(set(one)) == len(one) == round(min(share, other) * items)
    assert two[: len(one)] == one
    assert set(two) <= set(range(items))


def test_masks_are_drawn_by_the_seed():
    assert masked_items(50, 0.5, 1).tolist() == masked_items(50, 0.5, 1).tolist()
    assert set(masked_items(50, 0.5, 1)) != set(masked_items(50, 0.5, 2))
    with pytest.raises(DataError, match="a share of 0.9 of 2 items leaves none with features"):
        masked_items(2, 0.9, 1)


def test_what_is_missing_has_the_mean_of_the_others():
    masked = masked_items(50, 0.3, 7)
    rest = np.setdiff1d(np.arange(50), masked)
    found = changed(ROWS, "missing", 0.3, 7)
    assert np.array_equal(found[rest], ROWS[rest])
    expected = ROWS[rest].astype(np.float64).mean(0).astype(np.float32)
    assert (found[masked] == expected).all()
    assert np.array_equal(changed(ROWS, "missing", 0.0, 7), ROWS)


def test_a_constant_is_the_mean():
    found = changed(ROWS, "constant", 1.0, 1)
    assert (found == found[0]).all()
    assert found[0] == pytest.approx(ROWS.mean(0), rel=1e-6)


def test_noise_has_the_moments_of_the_columns_and_nothing_else():
    rows = np.random.default_rng(1).normal([0.0, 5.0], [1.0, 3.0], size=(4000, 2))
    found = changed(rows.astype(np.float32), "noise", 1.0, 1)
    assert found.mean(0) == pytest.approx(rows.mean(0), abs=0.2)
    assert found.std(0) == pytest.approx(rows.std(0), rel=0.05)
    assert abs(np.corrcoef(found[:, 0], rows[:, 0])[0, 1]) < 0.06
    assert not np.array_equal(found, changed(rows.astype(np.float32), "noise", 1.0, 2))


def test_a_permutation_has_the_same_rows_elsewhere():
    found = changed(ROWS, "permutation", 1.0, 3)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, ROWS.tolist()))
    assert (found != ROWS).any(1).mean() > 0.8
    with pytest.raises(ValueError, match="kind is 'zero'; wanted one of missing, constant"):
        changed(ROWS, "zero", 1.0, 3)


@pytest.fixture
def config(blocks, tmp_path):
    return support.config_for(blocks, "VBPR", cache_dir=f"{tmp_path / 'cache'}")


def of_folder(folder):
    found = support.config_for(folder, "VBPR")
    data = RecDataset(found)
    return data, load_features(found, data.get_item_num())


def test_a_folder_has_changed_features_and_the_same_interactions(config, blocks):
    folder = changed_folder(config, "missing", "missing", ["text"], 0.25, 3)
    assert folder.name == "blocks_missing25_text_seed3"
    inter = (folder / f"{folder.name}.inter").read_bytes()
    assert inter == (blocks / "blocks.inter").read_bytes()
    _, loaded = of_folder(folder)
    text = np.load(blocks / "text_feat.npy")
    assert list(loaded.modalities) == ["text", "image"]
    assert np.array_equal(
        loaded.files[loaded.modalities["text"]], changed(text, "missing", 0.25, 3)
    )
    image = loaded.files[loaded.modalities["image"]]
    assert np.array_equal(image, np.load(blocks / "image_feat.npy"))
    assert (folder / "image_feat.npy").is_symlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["kind"], manifest["share"], manifest["seed"]) == ("missing", 0.25, 3)


def test_all_modalities_lose_the_same_items(config, blocks):
    folder = changed_folder(config, "missing", "missing", ["text", "image"], 0.5, 1)
    assert folder.name == "blocks_missing50_all_seed1"
    _, loaded = of_folder(folder)
    same = []
    for name, path in loaded.modalities.items():
        before = np.load(blocks / f"{name}_feat.npy")
        same.append((loaded.files[path] == before).all(1))
    assert same[0].sum() == 20
    assert np.array_equal(*same)


def test_it_is_made_once_and_again_where_it_is_damaged_or_the_data_are_others(
    config, blocks, caplog
):
    how = "knockout", "permutation", ["text"], 1.0, 1
    folder = changed_folder(config, *how)
    path = folder / "text_feat.npy"
    content, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert changed_folder(config, *how) == folder
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(content[:-8])
    assert changed_folder(config, *how) == folder
    assert "is damaged: making it anew" in caplog.text
    assert path.read_bytes() == content
    np.save(blocks / "text_feat.npy", np.ones((40, 3), dtype=np.float32))
    assert changed_folder(config, *how) != folder


def test_it_wants_a_place(blocks):
    with pytest.raises(ConfigError, match="the missing experiment writes its data sets into cache"):
        changed_folder(support.config_for(blocks), "missing", "missing", ["text"], 0.3, 1)


def asked(blocks, tmp_path, **more):
    keys = {"data_path": f"{blocks.parent}/", "cache_dir": f"{tmp_path / 'cache'}"}
    return Setup(dataset="blocks", keys=keys, seeds=(1, 2), out=tmp_path, **more)


def test_what_is_lost_and_what_replaces(blocks, tmp_path, config):
    setup = asked(blocks, tmp_path)
    assert modalities_of(config) == ["text", "image"]
    both = ("text", "image")
    one = {"text": ("text",), "image": ("image",)}
    assert missing.losses(setup) == {"all modalities": both} | one
    assert knockout.changes(setup) == {
        "constant": ("constant", both),
        "noise": ("noise", both),
        "permutation": ("permutation", both),
        "permutation of text": ("permutation", ("text",)),
        "permutation of image": ("permutation", ("image",)),
    }
    (blocks / "image_feat.npy").unlink()
    assert missing.losses(setup) == {"text": ("text",)}
    assert list(knockout.changes(setup)) == ["constant", "noise", "permutation"]
    (blocks / "text_feat.npy").unlink()
    assert missing.losses(setup) == knockout.changes(setup) == {}
    for module in (missing, knockout):
        assert module.rows(setup) == []
        report = module.report(setup, [])
        assert "has no features" in report.sections[0].content[0]


def test_every_model_that_reads_features_is_knocked_out(blocks):
    from ld4mrec.plugins import sources

    reads = {
        name
        for name in sources.model_names()
        if support.config_for(blocks, name)["is_multimodal_model"]
    }
    assert set(knockout.MODELS) == reads
    assert set(missing.MODELS) <= reads
