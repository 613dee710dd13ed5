"""int8 in ONNX: static QDQ with per-channel weights, and the search for what must stay in float.

Everything that int8 helps is quantised first, by both kinds of ranges; if the better one keeps the bound, that is the
file. Otherwise, where even float products do not help, the additions and pools between them go back to float. Then each
product is quantised alone, which tells the error that it causes, and the fewest of the worst ones are left in float
until the bound is kept (doubling, then halving). If nothing would be left to quantise there is no file.
"""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from lowzoo.export.bounds import ParityError
from lowzoo.export.calibrate import Ranges, activation_ranges, calibration_images
from lowzoo.export.int8 import before_products, graph_input
from lowzoo.export.judge import Judge, compared
from lowzoo.export.onnx_file import open_onnx
from lowzoo.export.parity import bounds_of, broken
from lowzoo.export.quiet import quiet
from lowzoo.export.runnable import outputs_of
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# What stands between convolutions, so that the numbers stay whole from one to the next. In a transformer it is left
# alone: layer norms, softmax and GELU want float, and the residual sum has outliers.
_BETWEEN = ("Add", "Clip", "Relu", "MaxPool", "GlobalAveragePool", "ReduceMean")
_RANKING_IMAGES = 12
_TIMED_RUNS = 20
_FLOAT_NOTE = "lowzoo.int8_float_nodes"


@dataclass(frozen=True)
class _Graph:
    """A float graph that is ready to be quantised: what may be, its products, and what stands before them all."""

    model: onnx.ModelProto
    operators: tuple[str, ...]
    weighted: tuple[str, ...]
    before: tuple[str, ...]


def quantize_onnx(path: Path, resolved: Resolved, spec: ExportSpec, judge: Judge) -> tuple[str, ...]:
    """Replace a float32 ONNX file by its int8 version.

    Args:
        path: Of the file.
        resolved: The network.
        spec: Calibration data and bound.
        judge: Measures candidates.

    Returns:
        Warnings: nodes left in float, and an int8 file that is no faster on this machine.

    Raises:
        ParityError: No choice of float nodes keeps the bound.
        LowzooError: The calibration data cannot be used.
    """
    feeds = [
        graph_input(image, resolved, spec) for image in calibration_images(spec.calibration, resolved.input_size[0])
    ]
    judge.say(f"int8: measuring the ranges of activations on {len(feeds)} images")
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "candidate.onnx"
        graph = _prepared(path, Path(folder) / "float.onnx")
        ranges = activation_ranges(Path(folder) / "float.onnx", feeds, graph.operators)
        search = _Search(graph, candidate, judge, spec)
        chosen = max(ranges.values(), key=lambda each: search.cosine(each, ()))
        kept = search.fewest(chosen)
        model = search.write(chosen, kept)
        judge.say("int8: timing it beside fp32")
        gain = _speed_up(path, candidate, feeds[0])
    _claim_only_what_is_used(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = _FLOAT_NOTE, str(len(kept))
    onnx.save(model, path)
    warnings = []
    if search.operators != graph.operators:
        warnings.append("what stands between the products stays in float to keep the stated loss")
    if kept:
        warnings.append(f"{len(kept)} of {len(graph.weighted)} products stay in float to keep the stated loss")
    if gain < 1:
        warnings.append(
            f"int8 runs {gain:.2f} times as fast as fp32 on this machine, which is slower; time it on a phone"
        )
    return tuple(warnings)


class _Search:
    """Candidates of one graph, measured by one judge."""

    def __init__(self, graph: _Graph, candidate: Path, judge: Judge, spec: ExportSpec) -> None:
        self.graph, self.candidate, self.judge, self.spec = graph, candidate, judge, spec
        self.operators = graph.operators
        self.tried = 0

    def write(self, ranges: Ranges, kept: tuple[str, ...], only: tuple[str, ...] = ()) -> onnx.ModelProto:
        """Write the candidate that leaves the nodes `kept` in float, or that quantises `only` some."""
        model = onnx.ModelProto()
        model.CopyFrom(self.graph.model)
        data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
        with quiet():
            quantizer = QDQQuantizer(
                model,
                True,
                False,
                QuantType.QInt8,
                QuantType.QUInt8,
                TensorsData(CalibrationMethod.MinMax, data),
                list(only),
                [*kept, *self.graph.before],
                list(self.operators),
                {},
            )
            quantizer.quantize_model()
        written: onnx.ModelProto = quantizer.model.model
        onnx.save(written, self.candidate)
        return written

    def cosine(self, ranges: Ranges, kept: tuple[str, ...], only: tuple[str, ...] = ()) -> float:
        """Mean cosine with PyTorch on a few images; of several outputs the least."""
        self.write(ranges, kept, only)
        resolved, images = self.judge.resolved, self.judge.images[:_RANKING_IMAGES]
        reference = tuple(output[:_RANKING_IMAGES] for output in self.judge.reference)
        found = outputs_of(open_onnx(self.candidate), images, resolved)
        return min(one.mean_cosine for one in compared(resolved, reference, found, ""))

    def fewest(self, ranges: Ranges) -> tuple[str, ...]:
        """The fewest nodes, of those that cause most error, that must stay in float."""
        names = self.graph.weighted
        if self._holds(ranges, ()):
            return ()
        if self.operators != _WEIGHTED and not self._holds(ranges, names):
            # It is what stands between the products that costs too much, so that stays in float first.
            self.operators = _WEIGHTED
            if self._holds(ranges, ()):
                return ()
        alone = {}
        for i, name in enumerate(names):
            self.judge.say(f"int8: quantising product {i + 1} of {len(names)} alone, to find the harmful ones")
            alone[name] = self.cosine(ranges, (), (name,))
        worst = sorted(names, key=alone.__getitem__)
        low, high = 0, 1
        while high < len(worst) and not self._holds(ranges, tuple(worst[:high])):
            low, high = high, min(2 * high, len(worst))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._holds(ranges, tuple(worst[:middle])) else (middle, high)
        if high == len(worst):
            raise ParityError(
                f"no int8 file keeps the stated loss: all {len(worst)} products would stay in float",
                "Allow more by --max-loss, or use fp16",
            )
        return tuple(worst[:high])

    def _holds(self, ranges: Ranges, kept: tuple[str, ...]) -> bool:
        self.tried += 1
        between = "" if self.operators == self.graph.operators else ", what stands between them in float"
        float_ones = f"{len(kept)} of {len(self.graph.weighted)} products in float"
        self.judge.say(f"int8: judging candidate {self.tried}, {float_ones}{between}")
        self.write(ranges, kept)
        artifact = open_onnx(self.candidate)
        bounds = bounds_of(self.spec)
        # The k-NN loss takes eight times as many images as all the rest.
        if broken(self.judge.parity(artifact, with_knn=False), replace(bounds, knn_loss=None)):
            return False
        return bounds.knn_loss is None or self.judge.knn_loss(artifact) <= bounds.knn_loss


def _claim_only_what_is_used(model: onnx.ModelProto) -> None:
    """Drop the operator sets that onnxruntime's optimiser names without need: an older one refuses to load them."""
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _speed_up(exact: Path, quantised: Path, feed: NDArray[np.generic]) -> float:
    """Median time of the float file over that of the int8 file, by turns, on this machine."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    files = [
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for path in (exact, quantised)
    ]
    times: list[list[float]] = [[], []]
    for _ in range(_TIMED_RUNS):
        for session, taken in zip(files, times, strict=True):
            start = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: feed})
            taken.append(time.perf_counter() - start)
    return float(np.median(times[0]) / np.median(times[1]))


def _prepared(path: Path, prepared: Path) -> _Graph:
    with quiet():
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(prepared)
    types = {node.op_type for node in model.graph.node}
    transformer = bool(types & {"Softmax", "LayerNormalization"})
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    onnx.save(model, prepared)
    return _Graph(
        model,
        _WEIGHTED if transformer else _WEIGHTED + _BETWEEN,
        tuple(node.name for node in model.graph.node if node.op_type in _WEIGHTED),
        before_products((node.name, node.op_type in _WEIGHTED, node.input, node.output) for node in model.graph.node),
    )
