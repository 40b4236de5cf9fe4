"""Building a model: what it raises is a sentence where the user can mend it."""

from collections import ChainMap

import pytest

from ld4mrec.errors import UndeclaredKeyError
from ld4mrec.runs import opening


class Settings(dict):
    """A configuration; ours: of a model of ours."""

    def __init__(self, ours):
        super().__init__(model="Some", width=1)
        self.ours = ours


def reads_l2_weight(config, train):
    return ChainMap({}, config)["l2_weight"]


def looks_up_width_elsewhere(config, train):
    return {}["width"]


def test_a_key_that_is_read_through_a_copy_and_declared_nowhere_is_a_sentence():
    with pytest.raises(UndeclaredKeyError, match="Some reads the key 'l2_weight' and no yaml"):
        opening.build(reads_l2_weight, Settings(ours=True), None)


def test_other_lookups_stay_faults_of_the_code():
    with pytest.raises(KeyError) as raised:
        opening.build(looks_up_width_elsewhere, Settings(ours=True), None)
    assert not isinstance(raised.value, UndeclaredKeyError)
    with pytest.raises(KeyError) as raised:
        opening.build(reads_l2_weight, Settings(ours=False), None)
    assert not isinstance(raised.value, UndeclaredKeyError)
