import numpy as np
import pytest

from ld4mrec.data.features import feature_paths, load_features
from ld4mrec.data.interactions import inter_path
from ld4mrec.errors import DataError
from support import config_for


def save(folder, rows, name="text_feat.npy"):
    np.save(folder / name, rows)


def test_text_and_image_come_first_then_others_as_named(toy):
    save(toy, np.ones((7, 2)), "audio_feat.npy")
    named = {"audio": "audio_feat.npy", "image": "image_feat.npy", "text": "text_feat.npy"}
    (toy / "toy.yaml").write_text(f"modalities: {named}\nvision_feature_file: image_feat.npy\n")
    loaded = load_features(config_for(toy), 7)
    assert list(loaded.modalities) == ["text", "image", "audio"]
    assert loaded.vision.endswith("image_feat.npy")
    assert loaded.text is None
    assert all(rows.dtype == np.float32 for rows in loaded.files.values())


def test_mmrecs_two_names_alone_are_enough(toy):
    (toy / "toy.yaml").write_text(
        "vision_feature_file: image_feat.npy\ntext_feature_file: text_feat.npy\n"
    )
    loaded = load_features(config_for(toy), 7)
    assert list(loaded.modalities) == ["text", "image"]
    assert len(feature_paths(config_for(toy))) == 2


def test_an_absent_file_is_reported_and_left_out(toy, caplog):
    (toy / "toy.yaml").write_text("modalities: {text: text_feat.npy, image: image_feat.npy}\n")
    (toy / "image_feat.npy").unlink()
    assert list(load_features(config_for(toy), 7).modalities) == ["text"]
    assert "no image features" in caplog.text


def test_third_parties_keep_mmrecs_assertion(toy):
    for path in toy.glob("*.npy"):
        path.unlink()
    config = config_for(toy)
    assert load_features(config, 7).files == {}
    config.ours = False
    with pytest.raises(AssertionError, match="has no feature file for it; name one as vision"):
        load_features(config, 7)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((6, 2)), "has 6 rows but the interactions have 7 items"),
        (
            np.ones(7),
            r"holds float64 of shape \(7,\); wanted numbers of shape \(items, dimensions\)",
        ),
        (np.full((7, 2), "a"), "holds <U1 of shape"),
        (
            np.where(np.arange(14).reshape(7, 2) == 9, np.nan, 1),
            "NaN or infinite values in 1 row, first in row 4",
        ),
        (np.full((7, 2), 1e300), "NaN or infinite values in 7 rows.*beyond float32"),
    ],
)
def test_what_is_no_feature_table_is_refused(toy, rows, message):
    save(toy, rows)
    with pytest.raises(DataError, match=message):
        load_features(config_for(toy), 7)


def test_objects_and_other_files_are_not_loaded(toy):
    save(toy, np.array([{"a": 1}] * 7, dtype=object))
    with pytest.raises(DataError, match="is not a .npy file of numbers"):
        load_features(config_for(toy), 7)
    for content in (b"not numpy", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00\x02\x00{("):
        (toy / "text_feat.npy").write_bytes(content)
        with pytest.raises(DataError, match="is not a .npy file of numbers"):
            load_features(config_for(toy), 7)


@pytest.mark.parametrize("more", [b"", b"\0", b"\0" * 800], ids=["as it was", "a byte", "rows"])
def test_a_file_longer_than_its_header_says_is_damaged(toy, more):
    path = toy / "text_feat.npy"
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(more)
    if not more:
        load_features(config_for(toy), 7)
        return
    message = (
        rf"text_feat\.npy has {size + len(more):,} bytes, its header says {size}: it is damaged"
    )
    with pytest.raises(DataError, match=message):
        load_features(config_for(toy), 7)


@pytest.mark.parametrize("name", ["../toy/text_feat.npy", "a/../../x.npy", "/etc/x.npy", ".."])
@pytest.mark.parametrize("key", ["modalities", "text_feature_file", "inter_file_name"])
def test_names_that_leave_the_data_folder_are_refused(toy, key, name):
    config = config_for(toy, **{key: {"text": name} if key == "modalities" else name})
    with pytest.raises(DataError, match="which lies outside .*/toy; only files in"):
        (inter_path if key == "inter_file_name" else feature_paths)(config)


def test_links_in_the_data_folder_are_followed(toy, tmp_path):
    (toy / "text_feat.npy").rename(tmp_path / "elsewhere.npy")
    (toy / "text_feat.npy").symlink_to(tmp_path / "elsewhere.npy")
    config = config_for(toy, modalities={"text": "text_feat.npy"})
    assert str(toy / "text_feat.npy") in feature_paths(config)
