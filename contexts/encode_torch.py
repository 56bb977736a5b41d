"""sentence-transformers: makes and exports the model, and runs it where nothing faster does."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from contexts.context import Vector
from contexts.errors import ModelError


class TorchRuntime:
    """A sentence-transformers model folder, as it is. Never looks at a hub."""

    def __init__(self, folder: Path) -> None:
        transformers_logging.disable_progress_bar()
        torch.set_num_threads(1)  # as everywhere: threads that wait for each other cost more than they bring
        try:
            self.model: Any = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                model_kwargs={
                    "attn_implementation": "eager"
                },  # the attention that exports as plain operators
            )
        except Exception as error:  # whatever a damaged folder makes the libraries raise
            raise ModelError(
                f"{folder}: not a sentence-transformers model folder ({type(error).__name__}: {error}); "
                "name another model folder, or reinstall the package it came with"
            ) from error
        self.model.eval()
        self.most_tokens = int(self.model.max_seq_length or 512)
        self.dim = int(self.model.get_embedding_dimension())
        self._lock = threading.Lock()

    def embed(self, text: str, tokens: int) -> Vector:
        """Return (dim,) float32 for the first `tokens` tokens of a readable text."""
        with self._lock:
            self.model.max_seq_length = min(tokens, self.most_tokens)
            rows: Vector = self.model.encode([text], show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(rows[0], np.float32)


class _Pooled(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    """The model's whole chain (tokens' vectors, pooling, what follows) with normalisation at its end."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        rows = self.model(dict(zip(self.names, inputs, strict=True)))["sentence_embedding"]
        return torch.nn.functional.normalize(rows, dim=1)


def export(runtime: TorchRuntime, out: Path) -> list[str]:
    """Write `model.onnx` and `tokenizer.json` into the folder `out`; return the model's input names."""
    tokenizer = runtime.model.tokenizer
    sample = tokenizer(["two texts, the first of them longer", "short"], padding=True, return_tensors="pt")
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in sample]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated; what it writes is checked
        torch.onnx.export(
            _Pooled(runtime.model, names),
            tuple(sample[name] for name in names),
            str(out / "model.onnx"),
            input_names=names,
            output_names=["vector"],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in names} | {"vector": {0: "texts"}},
            opset_version=17,
            dynamo=False,
        )
    tokenizer.backend_tokenizer.save(str(out / "tokenizer.json"))
    return names
