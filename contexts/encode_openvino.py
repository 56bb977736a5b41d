"""The exported model on OpenVINO: bfloat16 where the CPU computes in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contexts.context import Vector


def capabilities() -> tuple[str, ...]:
    """Return what the CPU computes in, as OpenVINO names it: FP32, INT8, BF16, …."""
    return tuple(sorted(_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")))


class OpenVinoSession:
    """Runs an exported model in bfloat16, on one thread; each of those who run it at once has a request of its own.

    Load it after forking: a runtime's threads do not survive a fork.
    """

    def __init__(self, model: Path) -> None:
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "bf16"}
        self._compiled = _openvino().Core().compile_model(str(model), "CPU", settings)
        # Not threading.local: a request that ends with its thread asks for the interpreter while the thread gives it
        # up, which frees the thread's state twice (CPython's gh-119585, up to 3.12.3) and ends the process.
        self._free: list[Any] = []
        # Once before there are threads: what the binding makes at its first use it guards by a lock that is waited for
        # with the interpreter's held, and two first users would wait for each other for good.
        self.run({port.any_name: np.ones((1, 1), np.int64) for port in self._compiled.inputs})

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> Vector:
        """Take (1, tokens) arrays by input name; return (dim,)."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        vector: Vector = request.infer(inputs)[0][0].copy()
        self._free.append(request)
        return vector


def compress(model: Path, out: Path) -> None:
    """Write a copy with 16-bit weights (`out` and, beside it, a .bin): a worker then holds 80 MB less."""
    openvino = _openvino()
    openvino.save_model(openvino.Core().read_model(str(model)), str(out), compress_to_fp16=True)


def _openvino() -> Any:
    # Its import sends an event to www.google-analytics.com where this package can be loaded; None forbids it,
    # and OpenVINO then takes its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
