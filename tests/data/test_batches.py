import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.data import batches
from ld4mrec.data.batches import (
    EvalDataLoader,
    PairSet,
    TrainDataLoader,
    group_by,
    take_groups,
    users_at_once,
)
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import DataError
from support import TRAIN, VALID, config_for, write_inter

HISTORY = {0: {0, 1, 2}, 1: {1, 3}, 2: {0, 3, 4}, 3: {2, 5}, 4: {5}}


def splits(folder, **overrides):
    config = config_for(folder, **overrides)
    return config, RecDataset(config).split()


def train_loader(folder, batch_size=4, shuffle=False, **overrides):
    overrides = {"use_neg_sampling": True} | overrides
    config, (train, _, _) = splits(folder, **overrides)
    return TrainDataLoader(config, train, batch_size=batch_size, shuffle=shuffle)


def epoch(loader):
    batches = list(loader)
    assert len(batches) == len(loader)
    assert all(batch.dtype == torch.int64 and batch.device.type == "cpu" for batch in batches)
    return torch.cat(batches, dim=-1).numpy(), [batch.shape for batch in batches]


def test_triples_cover_every_row_once_with_one_negative_each(toy):
    rows, shapes = epoch(train_loader(toy))
    assert shapes == [(3, 4), (3, 4), (3, 3)]
    assert list(zip(*rows[:2].tolist(), strict=True)) == TRAIN
    assert all(
        n not in HISTORY[u] and n != 6 for u, _, n in rows.T.tolist()
    )  # item 6 is not in train


def test_pairs_without_negatives(toy):
    rows, shapes = epoch(train_loader(toy, use_neg_sampling=False))
    assert shapes == [(2, 4), (2, 4), (2, 3)]
    assert list(zip(*rows.tolist(), strict=True)) == TRAIN


def test_user_batches_cover_every_training_user_once(toy):
    users, shapes = epoch(train_loader(toy, batch_size=2, use_full_sampling=True, shuffle=True))
    assert shapes == [(2,), (2,), (1,)]
    assert sorted(users.tolist()) == [0, 1, 2, 3, 4]


def test_full_sampling_without_negatives_covers_as_many_batches_as_users_fill(toy):
    loader = train_loader(toy, batch_size=3, use_full_sampling=True, use_neg_sampling=False)
    rows, shapes = epoch(loader)  # ceil(5 users / 3) = 2 batches of rows
    assert shapes == [(2, 3), (2, 3)]
    assert list(zip(*rows.tolist(), strict=True)) == TRAIN[:6]


def neighbours():
    """{item: items that share a user with it}, by loops."""
    near = {item: set() for item in range(7)}
    for items in HISTORY.values():
        for item in items:
            near[item] |= items - {item}
    return near


def test_neighbour_columns(toy):
    loader = train_loader(toy, use_neighborhood_loss=True)
    near = neighbours()
    drawn = {item: set() for item in range(7)}
    for _ in range(40):
        rows, shapes = epoch(loader)
        assert shapes == [(5, 4), (5, 4), (5, 3)]
        for user, item, negative, friend, stranger in rows.T.tolist():
            assert negative not in HISTORY[user]
            assert friend in near[item]
            assert stranger not in near[item] | {item}
            drawn[item].add(friend)
    assert all(drawn[item] == near[item] for item in range(6))


def test_neighbour_columns_are_zero_for_an_item_alone(tmp_path):
    rows = [(0, 0, 0), (1, 1, 0), (1, 2, 0), (2, 3, 0), (2, 4, 0), (0, 1, 1), (0, 2, 2)]
    write_inter(tmp_path / "d", rows)
    table = epoch(train_loader(tmp_path / "d", use_neighborhood_loss=True))[0]
    assert table[3:, 0].tolist() == [0, 0]
    assert table[3].tolist() == [0, 2, 1, 4, 3]


@pytest.mark.parametrize(("crowd", "usable"), [(9, True), (10, False)])
def test_neighbour_columns_are_zero_where_over_80_percent_are_neighbours(tmp_path, crowd, usable):
    # user 0 owns all items but the last: crowd - 1 neighbours among crowd + 1 training items
    rows = [*((0, i, 0) for i in range(crowd)), (1, crowd, 0), (0, crowd, 1), (1, 0, 2)]
    write_inter(tmp_path / "d", rows)
    table = epoch(train_loader(tmp_path / "d", use_neighborhood_loss=True))[0][:, :crowd]
    if usable:
        assert (table[3] != table[1]).all()
        assert (table[4] == crowd).all()
    else:
        assert not table[3:].any()


def test_negatives_are_uniform_over_the_training_items_outside_the_history(toy):
    loader = train_loader(toy, batch_size=11)
    drawn = np.concatenate([epoch(loader)[0] for _ in range(3000)], axis=1)
    for user, history in HISTORY.items():
        counts = np.bincount(drawn[2, drawn[0] == user], minlength=7)
        allowed = sorted(set(range(6)) - history)
        assert counts.sum() == counts[allowed].sum()
        assert scipy.stats.chisquare(counts[allowed]).pvalue > 1e-3


def test_a_user_with_every_training_item_is_refused_unless_no_negative_is_drawn(tmp_path):
    write_inter(tmp_path / "d", [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 1), (1, 2, 2)])
    with pytest.raises(DataError, match="user 0 has all 2 items of the training split"):
        train_loader(tmp_path / "d")
    assert len(train_loader(tmp_path / "d", use_full_sampling=True)) == 1
    assert len(train_loader(tmp_path / "d", use_neg_sampling=False)) == 1


def test_shuffling_changes_the_order_alone_and_each_epoch_anew(toy):
    loader = train_loader(toy, shuffle=True, batch_size=11)
    first, second = epoch(loader)[0], epoch(loader)[0]
    assert first[:2].tolist() != second[:2].tolist()
    assert sorted(zip(*first[:2].tolist(), strict=True)) == sorted(TRAIN)


def test_batches_depend_on_the_seed_and_not_on_what_the_model_draws(toy):
    loader, other = train_loader(toy, shuffle=True), train_loader(toy, shuffle=True)
    first = epoch(loader)[0]
    torch.rand(3), np.random.rand(3)  # noqa: NPY002 (the global one is meant)
    assert (epoch(other)[0] == first).all()
    assert (epoch(train_loader(toy, shuffle=True, seed=1))[0] != first).any()


def test_a_batch_belongs_to_the_model(toy):
    loader = train_loader(toy)
    for batch in loader:
        batch += 100
    assert list(zip(*epoch(loader)[0][:2].tolist(), strict=True)) == TRAIN


def test_the_state_goes_on_where_it_was(toy):
    loader = train_loader(toy, shuffle=True)
    epoch(loader)
    state = loader.state()
    expected = epoch(loader)[0]
    other = train_loader(toy, shuffle=True, seed=5)
    other.load_state(state)
    assert (epoch(other)[0] == expected).all()


def test_inter_matrix(tmp_path):
    rows = [(1, 2, 0), (0, 1, 0), (1, 2, 0), (0, 0, 0), (0, 2, 1), (1, 1, 2)]
    write_inter(tmp_path / "d", rows)
    loader = train_loader(tmp_path / "d", use_neg_sampling=False)
    coo = loader.inter_matrix()
    assert (coo.row.tolist(), coo.col.tolist()) == ([1, 0, 1, 0], [2, 1, 2, 0])  # file order
    assert coo.dtype == np.float64
    assert coo.row.dtype == np.int32
    assert loader.inter_matrix(form="csr").toarray().tolist() == [[1, 1, 0], [0, 0, 2]]
    with pytest.raises(NotImplementedError, match="form 'dense'; wanted 'coo' or 'csr'"):
        loader.inter_matrix(form="dense")
    with pytest.raises(ValueError, match="there is no column 'rating'"):
        loader.inter_matrix(value_field="rating")


def test_members_that_plugins_touch(toy):
    loader = train_loader(toy)
    assert loader.history_items_per_u == HISTORY
    assert loader.history_users_per_i[5] == {3, 4}
    assert loader.item_item_dict == {item: near for item, near in neighbours().items() if item < 6}
    assert loader.user_user_dict[4] == {3}
    assert sorted(loader.all_items) == sorted(loader.all_items_set) == [0, 1, 2, 3, 4, 5]
    assert loader.all_uids.tolist() == [0, 1, 2, 3, 4]
    assert loader.all_users_set == {0, 1, 2, 3, 4}
    assert loader.all_item_len == 6
    assert loader.sparsity == 1 - 11 / 35
    assert (loader.batch_size, loader.step, loader.pr, loader.inter_pr) == (4, 4, 0, 0)
    assert loader.additional_dataset is None
    assert loader.neg_sampling
    assert not loader.use_full_sampling
    assert not loader.neighborhood_loss_required
    data = loader.dataset
    assert (data.uid_field, data.iid_field, data.splitting_label) == ("userID", "itemID", "x_label")
    assert (data.dataset_name, data.get_user_num(), data.item_num) == ("toy", 5, 7)
    assert data.config is loader.config
    assert data.dataset_path == str(toy)
    assert loader.dataset_bk.df.equals(data.df)


def eval_loader(folder, which=1, batch_size=2, mask_also=(), **overrides):
    config, parts = splits(folder, **overrides)
    return EvalDataLoader(
        config, parts[which], parts[0], batch_size, mask_also=[parts[i] for i in mask_also]
    )


def test_evaluation_batches(toy):
    batches = list(eval_loader(toy))
    assert [users.tolist() for users, _ in batches] == [[0, 1], [2]]
    assert batches[0][1].tolist() == [[0, 0, 0, 1, 1], [0, 1, 2, 1, 3]]
    assert batches[1][1].tolist() == [[0, 0, 0], [0, 3, 4]]
    assert all(part.dtype == torch.int64 for batch in batches for part in batch)


def test_users_come_in_order_of_first_appearance_and_duplicates_count_once(tmp_path):
    rows = [(0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 0, 1), (0, 1, 2)]
    write_inter(tmp_path / "d", rows)
    loader = eval_loader(tmp_path / "d", use_neg_sampling=False)
    assert loader.eval_users.tolist() == [1, 0]
    assert loader.n_relevant.tolist() == [1, 1]
    ((_, mask),) = loader
    assert mask.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert loader.hits(np.array([1, 0]), np.array([[1, 0], [1, 0]])).tolist() == [[0, 1], [1, 0]]


def test_validation_items_can_be_masked_at_test(toy):
    users, mask = next(iter(eval_loader(toy, which=2, batch_size=9, mask_also=[1])))
    assert users.tolist() == [0, 1, 3, 4]
    pairs = {(int(users[row]), item) for row, item in mask.T.tolist()}
    wanted = {(u, i) for u, i in TRAIN + VALID if u in (0, 1, 3, 4)}
    assert pairs == wanted


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=40)


@given(pairs, pairs)
def test_pair_set_answers_like_a_set(members, asked):
    rows, columns = np.array(members).T
    found = PairSet(rows, columns, 8).contains(*np.array(asked).T)
    assert found.tolist() == [pair in set(members) for pair in asked]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=30),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=30),
)
def test_pairs_taken_out_of_a_set_are_gone(members, unwanted):
    rows, columns = np.array(members, dtype=np.int64).reshape(-1, 2).T
    pairs = PairSet(rows, columns, 8)
    pairs.discard(*np.array(unwanted, dtype=np.int64).reshape(-1, 2).T)
    assert pairs.keys.tolist() == sorted({8 * r + c for r, c in {*members} - {*unwanted}})


def test_an_empty_pair_set_holds_nothing():
    empty = np.array([], dtype=np.int64)
    assert not PairSet(empty, empty, 3).contains(np.array([0, 1]), np.array([0, 1])).any()


@given(pairs, st.lists(st.integers(0, 5), max_size=8))
def test_groups_equal_a_loop(members, keys):
    rows, values = np.array(members).T
    indptr, grouped = group_by(rows, values, 6)
    place, taken = take_groups(indptr, grouped, np.array(keys, dtype=np.int64))
    expected = [(r, v) for r, key in enumerate(keys) for k, v in members if k == key]
    assert list(zip(place.tolist(), taken.tolist(), strict=True)) == expected


def test_a_batch_to_evaluate_has_at_most_so_many_scores(toy, monkeypatch):
    assert users_at_once(4096, 1_000_000) == 67
    assert users_at_once(4096, 7_050) == 4096
    assert users_at_once(4096, 2**30) == users_at_once(1, 5) == 1
    monkeypatch.setattr(batches, "CELLS", 20)  # of the toy world's 7 items
    train, valid, _ = RecDataset(config_for(toy)).split()
    loader = EvalDataLoader(config_for(toy), valid, train, batch_size=4096)
    assert [len(users) for users, _ in loader] == [2, 1]
    assert len(loader) == 2
