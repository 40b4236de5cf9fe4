"""Generated data of the paper's sizes."""

import numpy as np
import pytest
import sizes as command

from ld4mrec.data.interactions import RecDataset
from ld4mrec.paper import sizes
from support import config_for

SMALL = sizes.Size(120, 80, 900)


def counts(rows):
    return np.bincount(rows[:, 0]), np.bincount(rows[:, 1])


@pytest.mark.parametrize("size", [*sizes.SIZES.values(), SMALL], ids=[*sizes.SIZES, "small"])
def test_counts_are_exact_and_no_pair_repeats(size):
    rows = sizes.pairs(size)
    by_user, by_item = counts(rows)
    assert (len(by_user), len(by_item), len(rows)) == (size.users, size.items, size.interactions)
    assert min(by_user.min(), by_item.min()) >= sizes.LEAST
    keys = rows[:, 0] * size.items + rows[:, 1]
    assert (np.diff(keys) > 0).all()  # sorted, each once


@pytest.mark.parametrize("name", sizes.SIZES)
def test_users_and_items_have_long_tails(name):
    for degrees in counts(sizes.pairs(sizes.SIZES[name])):
        largest = np.sort(degrees)[-len(degrees) // 100 :]
        assert largest.mean() > 4 * degrees.mean()
        assert np.median(degrees) < degrees.mean()


def test_the_seed_decides():
    rows = sizes.pairs(SMALL, 1)
    assert np.array_equal(rows, sizes.pairs(SMALL, 1))
    assert not np.array_equal(rows, sizes.pairs(SMALL, 2))


def test_popularity_is_not_in_the_order_of_ids():
    _, by_item = counts(sizes.pairs(sizes.SIZES["tmall"]))
    assert abs(np.corrcoef(np.arange(len(by_item)), by_item)[0, 1]) < 0.1


def test_the_host_reads_the_folder(tmp_path):
    folder = sizes.write(tmp_path, "small", SMALL)
    data = RecDataset(config_for(folder))
    parts = data.split()
    assert (data.get_user_num(), data.get_item_num(), len(data)) == (120, 80, 900)
    assert data.dropped == {"train": 0, "validation": 0, "test": 0}
    assert parts[0].df["userID"].nunique() == 120
    assert [round(len(part) / 900, 1) for part in parts] == [0.7, 0.1, 0.1]
    for modality in ("text", "image"):
        feature = np.load(folder / f"{modality}_feat.npy", allow_pickle=False)
        assert feature.shape == (80, 512)
        assert feature.dtype == np.float32
        assert np.isfinite(feature).all()
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


@pytest.mark.parametrize("n", [599, 961])
def test_impossible_sizes_are_refused(n):
    with pytest.raises(ValueError, match=r"cannot be made.* 600 to 960"):
        sizes.Size(120, 80, n)


def test_command(tmp_path, monkeypatch, capsys):
    for name in ("SIZES", "ALL"):
        monkeypatch.setattr(command, name, {"one": SMALL, "two": SMALL})
    assert command.main(["--out", str(tmp_path), "one"]) == 0
    assert "120 x 80 x 900" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main(["--out", str(tmp_path)])
    assert "one is there already; --force" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()
    kept = (tmp_path / "one" / "one.inter").read_bytes()
    assert command.main(["--out", str(tmp_path), "--force"]) == 0
    assert (tmp_path / "two" / "two.inter").read_bytes() == kept
    with pytest.raises(SystemExit):
        command.main(["--out", str(tmp_path), "three"])
    assert "no size three; there are one, two" in capsys.readouterr().err
