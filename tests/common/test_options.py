"""What each check of an option accepts, and what it says of the rest."""

import numpy as np
import pytest

from common import options

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (lambda x: options.check_number("a", x, 0, 1), (0, 1.0, np.float32(0.5))),
        (lambda x: options.check_number("a", x, 0, INF), (0, 1e300, INF)),
        (lambda x: options.check_positive("a", x), (1e-300, 7)),
        (lambda x: options.check_integer("a", x, 2), (2, 10**12, np.int64(3))),
        (lambda x: options.check_integer("a", x, 2, 4), (2, 4)),
        (lambda x: options.check_flag("a", x), (True, False)),
        (lambda x: options.check_choice("a", x, ("x", "y")), ("x", "y")),
    ],
)
def test_good_values_pass(check, good):
    assert [check(value) for value in good] == [None] * len(good)


@pytest.mark.parametrize(
    ("name", "value", "arguments", "message"),
    [
        ("number", 1.5, (0, 1), r"^a must be a number in \[0, 1\], got 1.5$"),
        ("number", True, (0, 1), r"^a must be a number in \[0, 1\], got True$"),
        ("number", NAN, (0, 1), r"^a must be a number in \[0, 1\], got nan$"),
        ("number", None, (0, INF), r"^a must be a number in \[0, inf\], got None$"),
        ("number", "1e-4", (0, 1), r"got '1e-4' \(text: in yaml write 1.0e-4, not 1e-4\)$"),
        ("positive", 0, (), "^a must be a number above 0, got 0$"),
        ("positive", INF, (), "^a must be a number above 0, got inf$"),
        ("positive", "1e-4", (), r"got '1e-4' \(text: in yaml"),
        ("integer", 1, (2,), "^a must be an integer >= 2, got 1$"),
        ("integer", 2.0, (2,), "^a must be an integer >= 2, got 2.0$"),
        ("integer", True, (0,), "^a must be an integer >= 0, got True$"),
        ("integer", 5, (2, 4), r"^a must be an integer in \[2, 4\], got 5$"),
        ("flag", 1, (), "^a must be True or False, got 1$"),
        ("choice", "z", (("x", "y"),), "^a must be one of x, y, got 'z'$"),
        ("choice", None, ({"x": 1},), "^a must be one of x, got None$"),
    ],
)
def test_other_values_are_refused(name, value, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(options, f"check_{name}")("a", value, *arguments)


def test_several_choices_of_a_configuration():
    choices = {"a": ("x", "y"), "b": (True, False)}
    options.check_choices({"a": "y", "b": False, "c": 0}, choices)
    with pytest.raises(ValueError, match="^b must be one of True, False, got 'no'$"):
        options.check_choices({"a": "y", "b": "no"}, choices)


@pytest.mark.parametrize("negatives", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_batches_of_users_need_both_keys(negatives, full):
    config = {"use_neg_sampling": negatives, "use_full_sampling": full}
    if negatives and full:
        options.check_batches_of_users(config)
        return
    message = "^use_neg_sampling and use_full_sampling must be True: batches of users, got False$"
    with pytest.raises(ValueError, match=message):
        options.check_batches_of_users(config)
