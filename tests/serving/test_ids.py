"""Original ids: read, translated both ways, and refused."""

import numpy as np
import pytest

import support
from ld4mrec.errors import DataError
from ld4mrec.serving.ids import Ids, UnknownIdError


@pytest.fixture
def config(toy):
    return support.config_for(toy)


def write_map(config, text):
    (support.Path(config["data_path"]) / "toy" / "u_id_mapping.csv").write_text(text)


def test_a_map_is_read_in_any_order_and_used_both_ways(config):
    write_map(config, "user_id\tuserID\n007\t2\nNA\t0\na b\t1\n")
    ids = Ids.read(config, "user", 3)
    assert ids.all().tolist() == ["NA", "a b", "007"]
    assert ids.of(np.array([2, 2, 0])).tolist() == ["007", "007", "NA"]
    assert ids.numbers(["007", "NA"], "--users").tolist() == [2, 0]


def test_without_a_map_the_integer_ids_are_the_ids(config):
    ids = Ids.read(config, "user", 5)
    assert ids.of(np.array([4, 0])).tolist() == [4, 0]
    assert ids.numbers(["4", "0"], "--users").tolist() == [4, 0]
    with pytest.raises(UnknownIdError, match=r"x has 4 unknown user ids: '5', '-1', '1.0', 'a'"):
        ids.numbers(["5", "-1", "1.0", "a", "0"], "x")
    with pytest.raises(UnknownIdError, match="integer ids from 0 to 4"):
        ids.numbers(["99999999999999999999"], "x")


def test_unknown_ids_are_named(config):
    write_map(config, "user_id\tuserID\na\t0\nb\t1\n")
    ids = Ids.read(config, "user", 2)
    wanted = r"--users has 6 unknown user ids: 'c', 'd', 'e', 'f', 'g', ...; the run knows ids such"
    with pytest.raises(UnknownIdError, match=wanted):
        ids.numbers(["c", "d", "a", "c", "e", "f", "g", "h"], "--users")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id\tuserID\na\t0\n", "gives 1 original id to 1 of the 2 users"),
        ("user_id\tuserID\na\t0\na\t1\n", "gives 1 original id to 2 of the 2 users, in 2 rows"),
        ("user_id\tuserID\na\t0\nb\t0\n", "wanted one for each of 0 to 1"),
        ("user_id\tuserID\na\t0\nb\tx\n", "wanted one for each of 0 to 1"),
        ("user_id\tnumber\na\t0\n", r"columns \['user_id', 'number'\]; wanted .* userID"),
        ("", "has no header in its first line"),
        ("user_id\tuserID\n \t0\nb\t1\n", "has 1 empty original id, the first for userID 0"),
        ("\tuser_id\tuserID\n0\ta\t0\n1\tb\t1\n", "without a name; was it written with an index"),
        ("user_id\tuserID\n0\ta\t0\n1\tb\t1\n", "line 2 has 3 fields and the header 2"),
        ("a\tb\tuserID\nx\ty\t0\nz\tw\t1\n", "where there are more, the original id as user_id"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(config, text, message):
    write_map(config, text)
    with pytest.raises(DataError, match=message):
        Ids.read(config, "user", 2)


def test_the_original_id_is_taken_by_name_where_there_are_more_columns(config):
    write_map(config, "note\tuserID\tuser_id\nx\t0\ta\ny\t1\tb\n")
    assert Ids.read(config, "user", 2).all().tolist() == ["a", "b"]
