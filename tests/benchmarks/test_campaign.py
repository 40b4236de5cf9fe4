"""The campaign: planted faults get their class, cases follow from the seed, a piece runs."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from support import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import campaign as c
import mutations as m


@pytest.fixture
def trial(tmp_path):
    return c.Campaign(tmp_path, seed=0, seconds=1)


def plant(monkeypatch, fault):
    """`fault(folder of the world, content of its interactions)` instead of train."""

    def command(words):
        (place,) = [word.removeprefix("--data_path=") for word in words if "--data_path" in word]
        world = Path(place).parent
        return fault(world, (world / "data" / "toy" / "toy.inter").read_bytes())

    monkeypatch.setitem(c.COMMANDS, "train", command)


def product(world, content):
    """What a command writes."""
    path = world / "runs" / "topk.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return 0


def refuse(world, content):
    print("error: this line is bad", file=sys.stderr)
    return 2


def tell(world, content):
    print("line 3 was left out")
    return product(world, content)


FAULTS = {
    "refused": refuse,
    "equal": lambda world, content: product(world, b""),
    "said": tell,
    "different": product,
    "traceback": lambda world, content: {}["a key"],
    "hang": lambda world, content: time.sleep(60),
    "memory": lambda world, content: len(bytearray(1 << 40)),
    "died": lambda world, content: os.kill(os.getpid(), signal.SIGSEGV),
}
CUT = c.Case("train", "data/toy/toy.inter", [["put", 100, 10, ""], ["put", 40, 3, "x"]])


@pytest.mark.parametrize("wanted", FAULTS)
def test_a_planted_fault_gets_its_class(wanted, trial, monkeypatch):
    intact = trial.part("data/toy/toy.inter").read_bytes()

    def fault(world, content):
        if content != intact:
            return FAULTS[wanted](world, content)
        return product(world, b"" if wanted == "equal" else content)

    plant(monkeypatch, fault)
    found, where, ended = trial.fuzz("interactions", CUT)
    assert found == wanted, ended.output
    if wanted == "traceback":
        assert where.endswith("KeyError")
        assert trial.smallest("interactions", CUT, (found, where)).edits in ([e] for e in CUT.edits)


def test_other_numbers_of_a_legal_edit_are_accepted(trial, monkeypatch):
    plant(monkeypatch, product)
    text = trial.part("data/toy/toy.inter").read_bytes()
    last = text.rstrip(b"\n").rfind(b"\n") + 1
    case = c.Case("train", "data/toy/toy.inter", [["put", last, len(text), ""]])
    assert trial.fuzz("interactions", case)[0] == "accepted"


def resumable(world, content, keeps=True, litter=False):
    """Writes at once, then works on; keeps: whether a second call gives the same."""
    path = world / "runs" / "topk.npz"
    earlier = path.read_bytes() if path.is_file() and not keeps else b""
    product(world, earlier + b"a")
    (world / ".x.tmp").touch()
    time.sleep(0.3)
    if not litter:
        (world / ".x.tmp").unlink()
    return 0


@pytest.mark.parametrize("wanted", ["resumed", "lost", "litter"])
def test_a_planted_kill_gets_its_class(wanted, trial, monkeypatch):
    def fault(world, content):
        return resumable(world, content, keeps=wanted != "lost", litter=wanted == "litter")

    plant(monkeypatch, fault)
    assert trial.kill("run", 0)[0] == wanted


@pytest.mark.parametrize("whole", [True, False])
def test_a_kill_after_the_last_rename_leaves_what_was_made(whole, trial, monkeypatch):
    def fault(world, content):
        if (world / "runs").exists():
            print("error: W is there already", file=sys.stderr)
            return 2
        product(world, b"a")
        if whole:
            time.sleep(1)
            return 0
        product(world, b"b")
        time.sleep(1)
        return product(world, b"a")

    plant(monkeypatch, fault)
    assert trial.kill("run", 0)[0] == ("resumed" if whole else "lost")


def test_failures_of_other_commits_are_done_again(trial, monkeypatch):
    trial.commit = "bad"
    intact = trial.part("data/toy/toy.inter").read_bytes()

    def fault(world, content):
        if trial.commit == "bad" and content != intact:
            raise KeyError("a key")
        return 0

    plant(monkeypatch, fault)
    cases = [("fuzz", "interactions", number) for number in range(2)]
    assert {line["class"] for line in c.go(trial, cases, 1)} == {"traceback"}
    trial.commit = "good"
    assert len(c.go(trial, cases, 1)) == 2
    assert len(c.go(trial, cases, 1, again="id maps")) == 2
    lines = c.go(trial, cases, 1, again="failures")
    assert [line["class"] for line in lines[2:]] == ["equal"] * 2
    assert len(c.go(trial, cases, 1, again="failures")) == 4
    c.report(trial, lines, {"seed": 0})
    text = (trial.out / "report.md").read_text()
    assert "2 cases, seed 0: 2 at good" in text
    assert "Failed at earlier commits, mended:\n- traceback: " in text


def test_the_seed_decides_the_cases(trial, tmp_path):
    again, other = c.Campaign(tmp_path, 0), c.Campaign(tmp_path, 1)
    for kind in ("interactions", "features", "id maps", "data yaml", "words"):
        cases = [trial.case(kind, number) for number in range(20)]
        assert cases == [again.case(kind, number) for number in range(20)]
        assert cases != [other.case(kind, number) for number in range(20)]
        json.dumps(cases)  # as in the ledger


def test_a_second_call_does_what_the_ledger_lacks(trial, monkeypatch):
    calls = trial.out / "calls"

    def fault(world, content):
        with open(calls, "a") as file:
            file.write("x")
        return FAULTS["traceback"](world, content) if calls.stat().st_size > 2 else 0

    plant(monkeypatch, fault)
    cases = [("fuzz", "interactions", number) for number in range(3)]
    first = c.go(trial, cases[:2], 1)
    before = calls.stat().st_size
    assert c.go(trial, cases[:2], 1) == first
    assert calls.stat().st_size == before
    assert len(c.go(trial, cases, 1)) == 3
    c.report(trial, first, {"commit": "x"})
    text = (trial.out / "report.md").read_text()
    assert "| fuzz: interactions | 0 | 2 |" in text.replace("| traceback |", "")
    assert "--only 'interactions:0'" in text


@pytest.mark.parametrize(
    ("edit", "legal"),
    [
        (["rows", "field", 3, 2, "1"], True),
        (["rows", "unread", 3, 0, "a"], True),
        (["rows", "unread", 3, 0, '"a'], False),
        (["rows", "more", 3, 0, "1"], False),
        (["rows", "again", 3, 0, ""], False),
        (["rows", "joined", 3, 0, ""], False),
        (["zeros", 50, 4], False),
    ],
)
def test_the_judge_of_interactions(edit, legal):
    content = b"userID\titemID\tx_label\n" + b"".join(b"%d\t%d\t0\n" % (n, n) for n in range(1, 9))
    assert m.good_interactions(content, m.apply(content, [edit])) == legal


def test_the_judge_of_tables():
    whole = b"user,item,rating\na,b,3\nc,d,3\n"
    assert m.good_table(whole, whole[:-1])
    assert m.good_table(whole, whole.replace(b"c", "é".encode()))
    assert not m.good_table(whole, whole.replace(b"c", b"\xe9"))
    assert not m.good_table(whole, whole.replace(b"c", b'c"'))
    assert not m.good_table(whole, whole[:-2])
    assert not m.good_table(whole, whole[:-4])


@pytest.mark.parametrize(
    ("after", "legal"),
    [
        ("item,x\n1e3,2.5\n", True),
        ("item,x\n1,1e3\n", True),
        ("item,y\n1,2.5\n", True),
        ("x,item\n1,2.5\n", False),
        ("item,x\n1,\n", False),
        ("item,x\n1,nan\n", False),
        ("item,x\n1,2\n1,3\n", False),
    ],
)
def test_the_judge_of_own_vectors(after, legal):
    assert m.good_vectors(b"item,x\n1,2.5\n", after.encode()) is legal


@pytest.mark.parametrize(
    ("after", "with_header", "without"),
    [
        ("user,item\na b,'\n", True, True),
        ("usr,item\na,b\n", False, True),
        ("user,item\na,b,c\n", False, False),
        ('user,item\na,"b\n', False, False),
        ("user\na\n", False, False),
    ],
)
def test_the_judges_of_free_ids(after, with_header, without):
    before, after = b"user,item\na,b\n", after.encode()
    assert m.good_ids(before, after) is with_header
    assert m.good_width(before, after) is without


@pytest.mark.parametrize(
    ("after", "legal"),
    [("0 1 2\n1 7\n", True), ("0 1 2\n1 7 ", True), ("0 1 <\n", False), ("0 1\0\n", False)],
)
def test_the_judge_of_lists(after, legal):
    assert m.good_lists(b"", after.encode()) is legal


def test_edits_of_every_drawer_can_be_applied(trial):
    rng = random.Random(0)
    content = {
        m.draw_rows: b"a,b\n1,2\n3,4\n",
        m.draw_tree: b"a: {b: [1, 2]}\n",
        m.draw_array: trial.part("data/toy/text_feat.npy").read_bytes(),
    }
    for draw, before in content.items():
        after = {m.apply(before, draw(rng, before)) for _ in range(300)}
        assert len(after) > 50


@pytest.mark.slow
def test_a_piece_of_the_campaign(tmp_path):
    """Two kills (a run, a grid) and a case of each kind; the command goes on with the rest."""
    words = ["--kills=2", f"--fuzz={len(c.KINDS)}", f"--out={tmp_path}"]
    assert c.main([*words, "--minutes=0.2"]) in (0, 1)
    assert c.main(words) == 0  # no failure
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert len({(line["kind"], line["number"]) for line in lines}) == len(lines) == 2 + len(c.KINDS)
    assert [line["class"] for line in lines if line["name"] == "kill"] == ["resumed"] * 2
    assert json.loads((tmp_path / "report.json").read_text())["counts"]
