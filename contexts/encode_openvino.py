"""The exported model on OpenVINO: bfloat16 where the CPU computes in it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from contexts.context import Vector


def capabilities() -> tuple[str, ...]:
    """Return what the CPU computes in, as OpenVINO names it: FP32, INT8, BF16, …."""
    return tuple(sorted(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")))


class OpenVinoSession:
    """Runs an exported model on one thread; each calling thread has its own request.

    Load it after forking: a runtime's threads do not survive a fork.
    """

    def __init__(self, model: Path, precision: str) -> None:
        core = openvino.Core()
        self._compiled: Any = core.compile_model(
            str(model), "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
        )
        self._of_thread = threading.local()

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> Vector:
        """Take (1, tokens) arrays by input name; return (dim,)."""
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        rows: Any = request.infer(inputs)[0]
        first: Vector = rows[0].copy()
        return first
