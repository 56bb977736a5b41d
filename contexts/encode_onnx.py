"""The exported model on ONNX Runtime: 32-bit floats, or 8-bit integers where the CPU has no bfloat16."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contexts.context import Vector


class OnnxSession:
    """Runs an exported model in the calling thread."""

    def __init__(self, model: Path) -> None:
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> Vector:
        """Take (1, tokens) arrays by input name; return (dim,)."""
        vector: Vector = self._session.run(None, inputs)[0][0]
        return vector


def quantize(model: Path, out: Path) -> None:
    """Write an 8-bit copy. Scales a channel: scales a tensor would drift to a cosine of .957.

    In the first half of the layers what leads back from the wide part keeps its floats: few inputs there are large, and
    one scale for all rounds the rest away. That halves the distance from the true vector for a quarter more time.
    """
    _onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises pre-processing through the root logger
    try:
        quantize_dynamic(
            model, out, weight_type=QuantType.QInt8, per_channel=True, nodes_to_exclude=_narrowing(model)
        )
    finally:
        root.setLevel(level)


def _narrowing(model: Path) -> list[str]:
    """Name the first half of the multiplications whose weights have more rows than columns."""
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    narrow = {w.name for w in graph.initializer if len(w.dims) == 2 and w.dims[0] > w.dims[1]}
    found = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in narrow]
    return found[: len(found) // 2]


def _onnxruntime() -> Any:
    # From 1.29 on it reports to mobile.events.data.microsoft.com unless this is set before it is loaded
    # (https://github.com/microsoft/onnxruntime/pull/27379).
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
