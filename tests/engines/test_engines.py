"""Engines: workers of Ray give the numbers of this process, whatever happens to them."""

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

import support
from ld4mrec.commands import compare, experiments
from ld4mrec.commands import train as main
from ld4mrec.comparison import ledger
from ld4mrec.comparison.entries import Entry
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, RunError
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.request import Request
from ld4mrec.search.options import Search
from ld4mrec.search.train import plan, run

NUMBERS = ("metrics.jsonl", "per_user.npz", "topk.npz", "best.pt")
# as the engine does before it imports Ray, which reads it then; here importorskip comes first
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
RATES = {"hyper_parameters": ["learning_rate", "reg_weight"], "learning_rate": [0.1, 0.03, 0.01]}


@pytest.fixture
def keys(blocks, tmp_path):
    paths = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    quick = {"embedding_size": 4, "epochs": 5, "topk": [5, 20], "threads": 1}
    return paths | quick | RATES | {"reg_weight": 0.1, "cache_dir": None, "train_batch_size": 64}


@pytest.fixture
def command(blocks, tmp_path):
    paths = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    quick = ["--topk=[5,20]", "--threads=1", "--embedding_size=4", "--cache_dir=null"]
    axes = ["--hyper_parameters=[learning_rate,reg_weight]", "--learning_rate=[0.1,0.01]"]
    return ["-m", "BPR", "-d", "blocks", *paths, *quick, *axes, "--reg_weight=0.1"]


def in_turn(keys, tmp_path, **how):
    """The same runs trained in this process, in a ledger of their own."""
    return run("BPR", "blocks", keys | {"runs_dir": str(tmp_path / "in_turn")}, **how)


def assert_equal(mine, theirs):
    """The same runs in the same order, with the same files."""
    assert [one.folder.id for one in mine] == [one.folder.id for one in theirs]
    for one, other in zip(mine, theirs, strict=True):
        assert one.stopped == other.stopped
        assert (one.result is None) == (other.result is None)
        for name in NUMBERS if one.result else ("metrics.jsonl",):
            assert (one.folder.path / name).read_bytes() == (
                other.folder.path / name
            ).read_bytes(), name
        if one.result:
            for split in ("valid", "test"):
                assert one.result[split] == other.result[split]


# --- what needs no Ray session -------------------------------------------------------------------


def test_a_run_that_another_holds_comes_last(keys, tmp_path, monkeypatch):
    """With nothing else to do, the engine waits for it."""
    monkeypatch.setattr("ld4mrec.engines.in_turn.PATIENCE", 0.01)
    found = run("BPR", "blocks", keys | {"epochs": 1}, grid=True)
    (found[0].folder.path / "result.json").unlink()  # as if the other process had it half-way
    monkeypatch.setattr("ld4mrec.engines.in_turn.finish", lambda run, *_, **__: run)
    work = SimpleNamespace(model_class=None, splits=None, seconds=None)
    other = RunFolder(found[0].folder.path, found[0].folder.identity)
    assert other.lock(timeout=0)
    engine = InTurn()
    for one in found:
        engine.submit(work, one)
    order = [engine.collect(), engine.collect()]
    other.unlock()
    order.append(engine.collect())
    assert [ended.id for ended in order] == [found[i].id for i in (1, 2, 0)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "0"], "--workers is 0; wanted a whole number of at least 1"),
        (["--gpus-per-trial", "2"], "--gpus-per-trial is 2; wanted 0 to 1"),
        (["--gpus-per-trial", "0.5"], "is 0.5, but torch sees no GPU on this machine"),
        (["--gpus-per-trial", "0.5", "--use_gpu=False"], "for none; choose"),
        ([], "--engine ray trains the runs of --grid or --search; add one of them"),
    ],
)
def test_wrong_options_are_one_sentence(words, message, command, tmp_path, monkeypatch, capsys):
    pytest.importorskip("ray")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if words:
        words = [*command, "--grid", *words]
    else:  # one run
        words = [word for word in command if "learning_rate" not in word]
    assert main.main([*words, "--engine", "ray"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.glob("runs/**/*.*"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:70000"])
def test_no_cluster_at_the_address_is_a_sentence(address, command, tmp_path, capsys):
    pytest.importorskip("ray")
    assert main.main([*command, "--grid", "--engine", "ray", "--address", address]) == 2
    assert f"no cluster of Ray answers at --address {address} (" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/**/*.*"))


def test_without_ray_a_sentence_says_what_to_install(command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main.main([*command, "--grid", "--engine", "ray"]) == 2
    assert "--engine ray needs the package ray: pip install '.[ray]'" in capsys.readouterr().err


def test_finished_runs_start_no_ray(keys, monkeypatch):
    pytest.importorskip("ray")
    from ld4mrec.engines.ray_engine import RayEngine

    found = run("BPR", "blocks", keys, grid=True)
    monkeypatch.setattr(RayEngine, "_connect", lambda self: pytest.fail("Ray was started"))
    with RayEngine(workers=2) as engine:
        again = run("BPR", "blocks", keys, grid=True, engine=engine)
    assert [one.folder.id for one in again] == [one.folder.id for one in found]


# --- one session of Ray --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine():
    """An engine with a local Ray of its own, kept with its workers; nothing is left of it."""
    pytest.importorskip("ray")
    from ld4mrec.engines.ray_engine import RayEngine

    before = set(Path(tempfile.gettempdir()).glob("ld4*"))
    with RayEngine(workers=2) as one:
        one.with_device({})
        one.start(threads=1)
        one._connect()
        yield one
    assert set(Path(tempfile.gettempdir()).glob("ld4*")) <= before
    assert not [p for p in psutil.Process().children(recursive=True) if "ray" in p.name()]


@pytest.mark.slow
def test_a_local_ray_is_ours_alone(engine):
    assert stat.S_IMODE(os.stat(engine._temporary).st_mode) == 0o700
    assert os.listdir(engine._temporary) == ["ray"]
    processes = [p for p in psutil.Process().children(recursive=True) if "gcs" in p.name()]
    processes += [p for p in psutil.Process().children(recursive=True) if "raylet" in p.name()]
    listen = [c for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"]
    assert listen
    assert {c.laddr.ip for c in listen} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture
def room(engine):
    """Without the idle workers, which hold the two CPUs of this Ray."""
    while engine._idle:
        engine.ray.kill(engine._idle.pop().actor)


@pytest.fixture
def second(room):
    """Another engine in the same Ray."""
    from ld4mrec.engines.ray_engine import RayEngine

    with RayEngine(workers=2) as one:
        yield one


@pytest.mark.slow
def test_a_grid_ends_with_the_numbers_of_this_process(keys, tmp_path, engine, capsys):
    mine = run("BPR", "blocks", keys, grid=True, engine=engine)
    out = capsys.readouterr().out
    assert out.count("epoch ") == 0  # no worker's log in the display
    assert out.count("5 epochs, validation recall@20") == 3
    assert_equal(mine, in_turn(keys, tmp_path, grid=True))
    for one in mine:
        manifest = json.loads((one.folder.path / "manifest.json").read_text())
        assert manifest["command"] == sys.argv  # the driver's, not the worker's
        assert "epoch 4 | loss" in (one.folder.path / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tpe", "asha"])
def test_a_search_draws_and_stops_as_in_this_process(method, keys, tmp_path, engine):
    keys |= {"reg_weight": [0.1, 0.0]}
    mine = run("BPR", "blocks", keys, search=Search(method, 5, first_rung=1), engine=engine)
    search = Search(method, 5, first_rung=1, at_once=2)
    assert_equal(mine, in_turn(keys, tmp_path, search=search))
    assert (method == "asha") == any(one.stopped for one in mine)


def kill_the_worker_of(engine, chosen, times, monkeypatch):
    """Let the engine's display kill the worker of a run, once it has a checkpoint; the killed."""
    show, killed = engine._display.show, []

    def kill(state):
        show(state)
        for slot, _, one in engine._running.values():
            path = one.folder.path / "last.pt"
            due = len(killed) < times and slot.pid not in killed
            if due and one.folder.id == chosen and path.is_file():
                os.kill(slot.pid, signal.SIGKILL)
                killed.append(slot.pid)

    monkeypatch.setattr(engine._display, "show", kill)
    return killed


@pytest.mark.slow
def test_a_lost_workers_run_goes_on_and_ends_with_the_same_numbers(
    keys, tmp_path, engine, monkeypatch, caplog
):
    monkeypatch.setattr("ld4mrec.engines.ray_engine.POLL", 0.02)
    keys |= {"epochs": 60, "stopping_step": 1000, "checkpoint_seconds": 0}
    theirs = in_turn(keys, tmp_path, grid=True)
    chosen = theirs[0].folder.id
    killed = kill_the_worker_of(engine, chosen, 1, monkeypatch)
    with caplog.at_level(logging.WARNING):
        mine = run("BPR", "blocks", keys, grid=True, engine=engine)
    assert len(killed) == 1
    assert f"lost the worker {killed[0]}" in caplog.text
    assert "try 2 of 4" in caplog.text
    assert_equal(mine, theirs)
    log = (mine[0].folder.path / "log.txt").read_text()
    assert int(re.search(r"going on at epoch (\d+)", log)[1]) > 0


@pytest.mark.slow
def test_a_run_that_loses_every_worker_fails_alone(keys, tmp_path, engine, monkeypatch):
    monkeypatch.setattr("ld4mrec.engines.ray_engine.POLL", 0.02)
    monkeypatch.setattr("ld4mrec.engines.ray_engine.RETRIES", 1)
    keys |= {"epochs": 100, "stopping_step": 1000, "checkpoint_seconds": 0}
    keys |= {"learning_rate": [0.1, 0.01]}
    chosen = plan(Request("BPR", "blocks", keys), grid=True)[0].folder.id
    killed = kill_the_worker_of(engine, chosen, 2, monkeypatch)
    finished, lost = run("BPR", "blocks", keys, grid=True, engine=engine)
    assert len(killed) == 2
    assert finished.result
    assert lost.folder.id == chosen
    assert "its worker was lost 2 times" in lost.failure
    assert not (lost.folder.path / "failed.json").exists()  # not the run's fault: it may go on
    mine = run("BPR", "blocks", keys, grid=True)
    assert_equal(mine, in_turn(keys, tmp_path, grid=True))


@pytest.mark.slow
def test_small_files_come_back_from_a_worker_elsewhere(keys, tmp_path, engine, monkeypatch):
    """A worker that does not find the driver's witness keeps the run in its own scratch folder."""
    support.write_block_world(Path(keys["data_path"]), "far")
    scratch = Path(tempfile.gettempdir()) / "ld4mrec_workers" / "far"
    job = engine._job
    nowhere = str(tmp_path / "nothing here")
    monkeypatch.setattr(engine, "_job", lambda *what: replace(job(*what), witness=nowhere))
    try:
        mine = run("BPR", "far", keys, grid=True, engine=engine)
        theirs = run("BPR", "far", keys | {"runs_dir": str(tmp_path / "t")}, grid=True)
        assert [one.folder.id for one in mine] == [one.folder.id for one in theirs]
        for one, other in zip(mine, theirs, strict=True):
            assert one.result["test"] == other.result["test"]
            names = {path.name for path in one.folder.path.iterdir() if path.name[0] != "."}
            assert names == {
                *("config.yaml", "log.txt", "manifest.json", "metrics.jsonl", "per_user.npz"),
                *("result.json", "topk.npz"),
            }
            for name in ("metrics.jsonl", "per_user.npz", "topk.npz"):
                assert (one.folder.path / name).read_bytes() == (
                    other.folder.path / name
                ).read_bytes()
            weights = scratch / "BPR" / one.folder.id / "best.pt"
            assert weights.read_bytes() == (other.folder.path / "best.pt").read_bytes()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):  # another's runs may be there
            scratch.parent.rmdir()


@pytest.mark.slow
def test_other_data_at_a_worker_are_refused(keys, tmp_path, second, monkeypatch):
    job = second._job
    monkeypatch.setattr(second, "_job", lambda *what: replace(job(*what), id="s1-000000000000"))
    with pytest.raises(RunError, match="here the run's id is s999-.*at the driver s1-0000.*worker"):
        run("BPR", "blocks", keys, grid=True, engine=second)
    assert list((tmp_path / "runs").glob("**/.driver-*"))
    second.close()
    assert not list((tmp_path / "runs").glob("**/.driver-*"))


@pytest.mark.slow
def test_a_value_that_the_model_refuses_fails_alone(keys, engine):
    keys = {k: v for k, v in keys.items() if k not in (*RATES, "reg_weight", "embedding_size")}
    small = {"embedding_size": 8, "hidden_size": 8, "svd_rank": 4, "pg_hidden": 4, "epochs": 1}
    points = {"soft_prob": [0.1, 2.0], "soft_gamma": 0.1, "learning_rate": 6e-4}
    best, failed = run("LD4MRec", "blocks", keys | small | points, grid=True, engine=engine)
    assert best.result
    assert "soft_prob must be a number in [0, 1], got 2" in failed.failure


@pytest.mark.slow
def test_a_run_that_another_process_holds_is_waited_for(keys, engine, monkeypatch):
    monkeypatch.setattr("ld4mrec.engines.ray_engine.PATIENCE", 0.1)
    first = run("BPR", "blocks", keys | {"learning_rate": 0.1}, grid=True)[0].folder
    (first.path / "result.json").unlink()
    assert first.lock(timeout=0)
    show, seen = engine._display.show, []

    def release(state):
        show(state)
        if engine._held and not seen:
            seen.append(engine._held[0][1].id)
            first.unlock()

    monkeypatch.setattr(engine._display, "show", release)
    found = run("BPR", "blocks", keys, grid=True, engine=engine)
    assert seen == [first.id]
    assert all(one.result for one in found)


@pytest.mark.slow
def test_no_room_is_said(keys, second):
    with pytest.raises(ConfigError, match=r"no machine has .*64 CPUs \(--threads\); Ray has"):
        run("BPR", "blocks", keys | {"threads": 64}, grid=True, engine=second)


@pytest.mark.slow
def test_an_outsiders_model_runs_too(blocks, tmp_path, engine, capsys):
    paths = {"data_path": f"{blocks.parent}/", "cache_dir": str(tmp_path / "cache")}
    paths |= {"topk": [5, 20], "threads": 1, "epochs": 2}
    plugin = str(support.ROOT / "tests" / "plugins" / "theirs" / "tuned.py")
    found = []
    for name, one in (("ray", engine), ("here", None)):
        keys = paths | {"runs_dir": str(tmp_path / name)}
        found.append(run("Tuned", "blocks", keys, plugin=plugin, engine=one))
    assert_equal(*found)


@pytest.mark.slow
def test_rows_of_a_comparison_train_side_by_side(keys, tmp_path, engine):
    keys = {k: v for k, v in keys.items() if k not in RATES}
    found = [Entry("BPR", "BPR", {}, ""), Entry("weak", "BPR", {"reg_weight": 0.0}, "")]
    rows = ledger.rows_of(found, "blocks", keys, [1, 2])
    rows = ledger.train_all(rows, engine=engine)
    other = keys | {"runs_dir": str(tmp_path / "other")}
    for row, entry in zip(rows, found, strict=True):
        (alone,) = ledger.rows_of([entry], "blocks", other, [1, 2])
        alone = ledger.train(alone)
        assert_equal(row.runs, alone.runs)
        assert len(row.done) == 2


@pytest.mark.slow
def test_compare_takes_the_engine(room, blocks, tmp_path, capsys):
    paths = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    quick = ["--topk=[10,20]", "--threads=1", "--epochs=2", "--cache_dir=null"]
    words = ["-d", "blocks", "-m", "BPR,Pop", "--seeds", "2", *paths, *quick]
    tune = ["--tune", "--search", "random", "--trials", "2"]
    ray = ["--engine", "ray", "--workers", "2"]
    assert compare.main([*words, *tune, *ray, "--out", str(tmp_path / "a")]) == 0
    text = (tmp_path / "a" / "report.md").read_text(encoding="utf-8")
    assert "best of 2 of 2 trials of --search random on validation, seed 1" in text
    assert "workers train several at a time" in capsys.readouterr().out
    assert compare.main([*words, *tune, "--workers", "2", "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "a" / "report.csv").read_bytes() == (
        tmp_path / "b" / "report.csv"
    ).read_bytes()


@pytest.mark.slow
def test_experiments_take_the_engine(room, blocks, tmp_path):
    """Rows of several data sets: the noisy ones are data sets of their own."""
    words = ["-d", "blocks", "--only", "noise", "-m", "BPR", "--seeds", "1", "--epochs=2"]
    words += [f"--data_path={blocks.parent}", f"--cache_dir={tmp_path / 'cache'}"]
    words += ["--topk=[10,20]", "--threads=1"]
    ledgers = [f"--runs_dir={tmp_path / name}" for name in ("ray", "here")]
    outs = [["--out", str(tmp_path / f"report_{name}")] for name in ("ray", "here")]
    ray = ["--engine", "ray", "--workers", "2"]
    assert experiments.main([*words, ledgers[0], *outs[0], *ray]) == 0
    assert experiments.main([*words, ledgers[1], *outs[1]]) == 0
    tables = [(Path(out) / "noise" / "report.csv").read_bytes() for _, out in outs]
    assert tables[0] == tables[1]
    found = [sorted((tmp_path / name).glob("*/BPR/*/per_user.npz")) for name in ("ray", "here")]
    assert len(found[0]) == 6  # clean and five shares
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*found, strict=True))


# --- the command, in a process of its own --------------------------------------------------------


def started(words, **options):
    program = [sys.executable, str(support.ROOT / "src" / "main.py"), *words]
    return subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


def wait_until(happened, seconds=180):
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


LONG = ["--epochs=100", "--stopping_step=100000", "--checkpoint_seconds=0", "--grid"]
RAY = ["--engine", "ray", "--workers", "2"]


@pytest.mark.slow
def test_the_command_survives_the_death_of_a_worker(command, tmp_path):
    pytest.importorskip("ray")
    assert main.main([*command, *LONG, f"--run_dir={tmp_path / 'whole'}"]) == 0
    child = started([*command, *LONG, *RAY])
    wait_until(lambda: list(tmp_path.glob("runs/**/last.pt")))
    workers = [
        p
        for p in psutil.Process(child.pid).children(recursive=True)
        if "ray::Worker.train" in " ".join(p.cmdline())
    ]
    workers[0].kill()
    out = child.communicate(timeout=300)[0]
    assert child.returncode == 0, out
    assert "lost the worker" in out
    for path in (tmp_path / "whole").glob("*/result.json"):
        (mine,) = (tmp_path / "runs").glob(f"**/{path.parent.name}")
        for name in NUMBERS:
            assert (mine / name).read_bytes() == (path.parent / name).read_bytes()


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_a_state_to_go_on_from(command, tmp_path, capsys):
    pytest.importorskip("ray")
    endless = [word.replace("epochs=100", "epochs=20000") for word in LONG]
    child = started([*command, *endless, *RAY])
    wait_until(lambda: len(list(tmp_path.glob("runs/**/last.pt"))) == 2)
    family = psutil.Process(child.pid).children(recursive=True)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    out = child.communicate(timeout=300)[0]
    assert child.returncode == 130, out
    assert "a grid or search goes on by itself" in out
    assert "Traceback" not in out
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    assert not list(tmp_path.glob("runs/**/.driver-*"))
    saved = np.array([p.stat().st_size for p in tmp_path.glob("runs/**/last.pt")])
    assert (saved > 0).all()
    assert not list(tmp_path.glob("runs/**/result.json"))
    child = started([*command, *endless])  # without Ray: the state is the runs' own
    wait_until(
        lambda: (
            "going on at epoch" in "".join(map(Path.read_text, tmp_path.glob("runs/**/log.txt")))
        )
    )
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(timeout=300) == 130
