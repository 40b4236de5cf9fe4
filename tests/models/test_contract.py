"""What every model in src/models must do, whatever it is; a new file is found by itself."""

import copy
import json
import subprocess
import sys

import pytest
import torch

import support
from ld4mrec.data.batches import TrainDataLoader
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import UserError
from ld4mrec.plugins import sources
from ld4mrec.search.train import run
from ld4mrec.training import checkpoint, randomness

SMALL = {
    "BM3": {"embedding_size": 8, "train_batch_size": 16},
    "FREEDOM": {"embedding_size": 8, "train_batch_size": 16},
    "LATTICE": {"embedding_size": 8, "feat_embed_dim": 8, "train_batch_size": 16},
    "MGCN": {"embedding_size": 8, "train_batch_size": 16},
    "MMSSL": {"embedding_size": 8, "train_batch_size": 16, "m_topk_rate": 0.1},
    "SLMRec": {"embedding_size": 8, "train_batch_size": 16},
    "DiffMM": {"embedding_size": 8, "dims": [16], "train_batch_size": 16},
    "DiffRec": {"dims": [[16]], "train_batch_size": 16},
    "LD4MRec": {
        "embedding_size": 16,
        "hidden_size": 16,
        "svd_rank": 8,
        "pg_hidden": 8,
        "train_batch_size": 16,
    },
}
# and refuse a data set without any
NEED_FEATURES = {"BM3", "DiffMM", "FREEDOM", "LATTICE", "MGCN", "MMSSL", "SLMRec", "VBPR"}
ALL = sources.model_names()


def build(name, folder, **overrides):
    """A model as a run builds it, with its training loader."""
    config = support.config_for(folder, name, **SMALL.get(name, {}) | overrides)
    train = RecDataset(config).split()[0]
    randomness.init_seed(config["seed"])
    loader = TrainDataLoader(config, train, config["train_batch_size"], shuffle=True)
    model_class = sources.load_model_class(sources.find_model(name))
    return model_class(config, loader).to(config["device"]), loader, config


def scores(model):
    users = torch.arange(model.n_users)
    with torch.no_grad():
        return model.eval().full_sort_predict([users, torch.empty(2, 0, dtype=torch.int64)])


def same(one, other):
    """Equal to the last bit; what get_extra_state() returns holds containers."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_the_models_are_found():
    assert {"LD4MRec", "Pop"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_its_yaml_has_a_default_for_each_hyper_parameter(name):
    source = sources.find_model(name)
    (point,) = support.Config(name, "demo", model_yaml=source.yaml).points()
    assert point.has_defaults


@pytest.mark.parametrize("name", ALL)
def test_loss_and_gradients(name, blocks):
    model, loader, config = build(name, blocks)
    if not config["req_training"]:
        assert not list(model.parameters())
        return
    for batch in loader:
        loss = model.calculate_loss(batch)
        total = sum(loss) if isinstance(loss, tuple) else loss
        assert total.numel() == 1
        assert total.isfinite()
        model.zero_grad()
        total.backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ALL)
def test_no_trainable_tensor_hides_outside_the_parameters(name, blocks):
    model, *_ = build(name, blocks)
    known = {id(p) for p in model.parameters()}
    for path, module in model.named_modules():
        for attribute, value in [*vars(module).items(), *module.named_buffers(recurse=False)]:
            if isinstance(value, torch.Tensor):
                assert not value.requires_grad or id(value) in known, f"{path}.{attribute}"


@pytest.mark.parametrize("name", ALL)
def test_scores_have_a_row_per_user_and_evaluation_changes_nothing(name, blocks):
    model, *_ = build(name, blocks)
    before = copy.deepcopy(model.state_dict())
    states = randomness.capture_rng_state()
    first = scores(model)
    assert first.shape == (model.n_users, model.n_items)
    first.fill_(-1e10)  # the host writes into it
    second = scores(model)
    assert second.isfinite().all()
    assert (second != -1e10).any()
    assert same(before, model.state_dict())
    after = randomness.capture_rng_state()
    assert torch.equal(states["torch"], after["torch"])
    assert torch.equal(states["numpy"]["words"], after["numpy"]["words"])
    assert torch.equal(states["python"]["words"], after["python"]["words"])


@pytest.mark.parametrize("name", ALL)
def test_scores_do_not_depend_on_the_batch(name, blocks):
    model, *_ = build(name, blocks)
    users, none = torch.tensor([7, 3]), torch.empty(2, 0, dtype=torch.int64)
    with torch.no_grad():
        two = model.eval().full_sort_predict([users, none])
    torch.testing.assert_close(two, scores(model)[users])


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_reproduces_the_scores(name, blocks, tmp_path):
    model, loader, config = build(name, blocks)
    if config["req_training"]:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for batch in loader:
            loss = model.calculate_loss(batch)
            (sum(loss) if isinstance(loss, tuple) else loss).backward()
            optimizer.step()
    expected = scores(model)
    saved, unsaved = checkpoint.snapshot(model)
    assert not unsaved
    checkpoint.save(tmp_path / "model.pt", saved)
    other, *_ = build(name, blocks, seed=5)
    checkpoint.restore(other, checkpoint.load(tmp_path / "model.pt"))
    assert torch.equal(scores(other), expected)


@pytest.mark.parametrize("absent", [["text"], ["image"], ["text", "image"]])
@pytest.mark.parametrize("name", ALL)
def test_trains_with_modalities_missing(name, absent, blocks, tmp_path):
    for modality in absent:
        (blocks / f"{modality}_feat.npy").unlink()
    paths = {
        "data_path": f"{blocks.parent}/",
        "runs_dir": str(tmp_path / "runs"),
        "cache_dir": None,
    }
    keys = SMALL.get(name, {}) | paths | {"epochs": 2, "topk": [5, 20]}
    if name in NEED_FEATURES and len(absent) == 2:
        with pytest.raises(UserError, match=r"wants item features .* got none"):
            run(name, blocks.name, keys)
        return
    (finished,) = run(name, blocks.name, keys)
    assert 0 <= finished.result["test"]["recall@20"] <= 1


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_files(name, blocks, tmp_path):
    common = {"data_path": f"{blocks.parent}/", "cache_dir": None, "epochs": 2, "topk": [5, 20]}
    folders = []
    for place in ("a", "b"):
        torch.rand(3)  # what happened before must not matter
        paths = {"run_dir": str(tmp_path / place)}
        folders.append(run(name, blocks.name, SMALL.get(name, {}) | common | paths)[0].folder.path)
    for file in ("best.pt", "per_user.npz", "topk.npz", "metrics.jsonl", "config.yaml"):
        one, other = ((folder / file).read_bytes() for folder in folders)
        assert one.replace(b"/a/", b"/b/") == other, file


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_another_process_gives_the_same_numbers(name, blocks, tmp_path):
    keys = {"data_path": f"{blocks.parent}/", "cache_dir": None, "epochs": 2, "topk": [5, 20]}
    keys |= SMALL.get(name, {}) | {"threads": 1}
    here = run(name, blocks.name, keys | {"run_dir": str(tmp_path / "a")})[0].folder.path
    there = tmp_path / "b"
    words = [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in keys.items()
    ]
    program = [sys.executable, str(support.ROOT / "src" / "main.py"), "-m", name, "-d", blocks.name]
    command = [*program, *words, f"--run_dir={there}"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    for file in ("per_user.npz", "topk.npz", "metrics.jsonl"):
        assert (here / file).read_bytes() == (there / file).read_bytes(), file


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ALL)
def test_another_device_gives_the_same_scores(name, blocks):
    here, *_ = build(name, blocks, use_gpu=False)
    there, *_ = build(name, blocks)
    there.load_state_dict(here.state_dict())
    users, none = torch.arange(here.n_users), torch.empty(2, 0, dtype=torch.int64)
    with torch.no_grad():
        got = there.eval().full_sort_predict([users.cuda(), none.cuda()]).cpu()
    torch.testing.assert_close(got, scores(here), rtol=1e-4, atol=1e-5)
