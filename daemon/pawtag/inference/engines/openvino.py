"""The engine of CPUs: a vision tower, converted from torch's and compiled for this processor, run by OpenVINO."""

import errno
import importlib
import mmap
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pawtag.domain.errors import ModelError
from pawtag.domain.pictures import Floats, Pixels, PixelSpec
from pawtag.inference.facts import ModelFacts

# With the package openvino_telemetry, openvino reports imports and conversions to an analytics service: it is hidden.
# Serving does not need the converter, whose import takes as long as all others together: `convert` imports it.
CONVERTER = "openvino.tools.ovc"
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
sys.modules[CONVERTER] = None  # type: ignore[assignment]
import openvino  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

del sys.modules[CONVERTER]

VERSION: str = openvino.get_version()
DEVICE = "CPU"
PRECISIONS = {"bfloat16": openvino.Type.bf16, "float32": openvino.Type.f32, "int8": openvino.Type.f32}
# For batches, oneDNN keeps a second copy of the weights: with ViT-B/32 in float32, 330 MB for 10 % more speed. So
# batches of four are used only if this copy is small.
MAX_COPY_BYTES, BATCH_SIZE = 200_000_000, 4
# The size of the copy, as a multiple of the file's size. The file holds the weights in half precision, or quantised.
COPIES_PER_FILE = {"bfloat16": 1, "float32": 2, "int8": 1}
MAX_BYTE = 255
ATTENTION = ("ScaledDotProductAttention", "Softmax", "SoftMax")


class OpenVINOEngine:
    """A compiled vision tower; see ports.Engine."""

    runs_on_gpu = False

    def __init__(self, facts: ModelFacts, compiled: Path, precision: str, threads: int) -> None:
        """Open the file that `compile_tower` made. Raises ModelError where this machine cannot run it."""
        self.digest, self.weights_digest = facts.digest, facts.weights_digest
        self.spec, self.scale, self.bias = facts.spec, facts.scale, facts.bias
        copy_bytes = compiled.stat().st_size * COPIES_PER_FILE[precision]
        self.max_batch = 1 if copy_bytes > MAX_COPY_BYTES else BATCH_SIZE
        self.description = f"openvino {VERSION.split('-', maxsplit=1)[0]} on cpu, {precision}"
        with compiled.open("rb") as file:
            self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        try:
            tensor = openvino.Tensor(np.frombuffer(self._content, np.uint8), shared_memory=True)
            tower = openvino.Core().import_model(tensor, DEVICE, _build_properties(precision, threads))
        except RuntimeError as error:
            raise ModelError(f"The compiled model {compiled} cannot be opened: {_first_line(error)}") from error
        self._request = tower.create_infer_request()

    def embed(self, batch: Sequence[Pixels]) -> Floats:
        """Unit vectors (N, D) for N inputs (H, W, 3)."""
        found = self._request.infer({0: np.stack(batch)}, share_inputs=True)[0]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def release_file(self) -> None:
        """Give back the memory of the file: after the first input oneDNN has its own copy of the weights."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._content.madvise(mmap.MADV_DONTNEED)


def describe_processor() -> str:
    """The processor and its capabilities: a compiled tower runs only on a processor with the same ones."""
    core = openvino.Core()
    return f"{core.get_property(DEVICE, 'FULL_DEVICE_NAME')} {' '.join(_list_capabilities())}"


def list_precisions(wanted: str) -> list[str]:
    """The precisions to try, the wanted one first; "auto" wants bfloat16 where the processor has it."""
    best = ("bfloat16" if "BF16" in _list_capabilities() else "float32") if wanted == "auto" else wanted
    return list(dict.fromkeys([best, "float32"]))


def convert(tower: Any, example: Any, spec: PixelSpec, path: Path) -> None:
    """Convert torch's `tower`, called with `example` (N, 3, H, W), to files `path` and `path` with the suffix .bin.

    The result takes uint8 (N, H, W, 3), for any N, and normalises it. Raises OSError where the files cannot be
    written, else whatever the converter raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's tracer: what it cannot follow shows in the embeddings
        model = importlib.import_module(CONVERTER).convert_model(tower, example_input=example)
    model.reshape({0: [-1, *example.shape[1:]]})
    processor = PrePostProcessor(model)
    processor.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    processor.input().model().set_layout(openvino.Layout("NCHW"))
    steps = processor.input().preprocess().convert_element_type(openvino.Type.f32)
    steps.mean([MAX_BYTE * value for value in spec.mean]).scale([MAX_BYTE * value for value in spec.std])
    try:
        openvino.save_model(processor.build(), path, compress_to_fp16=True)
    except RuntimeError as error:
        raise OSError(errno.EIO, _first_line(error), str(path)) from error


def quantise(path: Path, calibration: Sequence[Pixels], quantised: Path) -> None:
    """Quantise what `convert` wrote to int8, with the ranges that the inputs `calibration` show.

    Raises ModelError where NNCF is not installed.
    """
    try:
        import nncf
    except ImportError as error:
        raise ModelError("Quantisation needs NNCF: pip install 'pawtag[optimize]'.") from error
    model = openvino.Core().read_model(path, path.with_suffix(".bin"))
    inputs = nncf.Dataset([pixels[np.newaxis] for pixels in calibration])
    has_attention = any(operation.get_type_name() in ATTENTION for operation in model.get_ops())
    found = nncf.quantize(
        model,
        inputs,
        subset_size=len(calibration),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if has_attention else None,
    )
    openvino.save_model(found, quantised)


def compile_tower(path: Path, precision: str, threads: int) -> bytes:
    """Compile what `convert` wrote. Raises ModelError where this machine cannot compute at that precision."""
    try:
        core = openvino.Core()
        model = core.read_model(path, path.with_suffix(".bin"))
        compiled = core.compile_model(model, DEVICE, _build_properties(precision, threads))
    except RuntimeError as error:
        raise ModelError(f"The model does not compile in {precision}: {_first_line(error)}") from error
    if compiled.get_property("INFERENCE_PRECISION_HINT") != PRECISIONS[precision]:
        raise ModelError(f"This processor does not compute in {precision}.")
    exported = compiled.export_model()
    return exported if isinstance(exported, bytes) else exported.getvalue()


def _build_properties(precision: str, threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }


def _list_capabilities() -> list[str]:
    return sorted(openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
