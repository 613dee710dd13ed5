"""int8 in ONNX: static QDQ with per-channel weights, and the search for what must stay in float.

Everything that int8 helps is quantised first, by both kinds of ranges; if the better one keeps the bound, that is the
file. Otherwise each product is quantised alone, which tells the error that it causes, and the fewest of the worst ones
are left in float until the bound is kept (doubling, then halving), each with what stands between it and the next ones:
a float product between rounded numbers would gain nothing. Where half of the products do not suffice, or where it is
not the products that cost too much, all additions, gates and pools go back to float, which makes a slower file, and the
search is made again. If nothing would be left to quantise there is no file.
"""

import math
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

from lowzoo.base.quiet import quiet
from lowzoo.export.formats.onnx.gates import GATES, gates_by_clips, ranges_for_gates, split_gates
from lowzoo.export.formats.onnx.runtime import open_onnx
from lowzoo.export.formats.onnx.whole_vectors import fill_vectors
from lowzoo.export.network.rewrites import global_pools
from lowzoo.export.parity.checker import ParityChecker, compared
from lowzoo.export.parity.parity import bounds_of, broken
from lowzoo.export.parity.runnable import outputs_of
from lowzoo.export.quantization.calibrate import Ranges, activation_ranges, calibration_images
from lowzoo.export.quantization.int8 import before_products, graph_input
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.zoo.resolve import Resolved

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# What becomes part of the product before it: left in float it would only widen the range of what is rounded.
_FUSED = ("Clip", "Relu")
# What else stands between convolutions, so that the numbers stay whole from one to the next. In a transformer it is
# left alone: layer norms, softmax and GELU want float, and the residual sum has outliers.
_BETWEEN = ("Add", "Mul", "Concat", "MaxPool", "GlobalAveragePool", "ReduceMean", *GATES)
# A 3 x 3 convolution of RGB sums 27 values a pixel: gathering them as bytes takes 1.5 times as long as float32 takes in
# all (MobileNetV3-Large), and the picture is best not rounded at all.
_FEW_VALUES = 32
_RANKING_IMAGES = 12
_TIMED_RUNS = 20
_FLOAT_NOTE = "lowzoo.int8_float_nodes"


@dataclass(frozen=True)
class _Graph:
    """A float graph that is ready to be quantised: what may be, at least, its products, and what stays in float."""

    model: onnx.ModelProto
    operators: tuple[str, ...]
    least: tuple[str, ...]
    weighted: tuple[str, ...]
    floats: tuple[str, ...]

    def with_followers(self, kept: tuple[str, ...]) -> tuple[str, ...]:
        """Names of products, and of what reads, up to the next products, nothing but what these make."""
        return _with_followers(self.model.graph, self.weighted, kept)


def quantize_onnx(
    path: Path, resolved: Resolved, spec: ExportSpec, checker: ParityChecker, *, timed: bool = True
) -> tuple[str, ...]:
    """Replace a float32 ONNX file by its int8 version.

    Args:
        path: Path of the file.
        resolved: The network.
        spec: Calibration data and bound.
        checker: Measures candidates.
        timed: Time it beside float32; what another runtime will run says nothing by its time in onnxruntime.

    Returns:
        Warnings: nodes left in float, and an int8 file that is no faster on this machine.

    Raises:
        ParityError: No choice of float nodes keeps the bound.
        LowzooError: The calibration data cannot be used.
    """
    feeds = [
        graph_input(image, resolved, spec) for image in calibration_images(spec.calibration, resolved.input_size[0])
    ]
    checker.say(f"int8: measuring the ranges of activations on {len(feeds)} images")
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "candidate.onnx"
        graph = _prepared(path, Path(folder) / "float.onnx", for_cpu=spec.target == "cpu")
        found = activation_ranges(Path(folder) / "float.onnx", feeds, graph.operators)
        ranges = {kind: ranges_for_gates(graph.model, each) for kind, each in found.items()}
        search = _Search(graph, candidate, checker, spec)
        chosen = max(ranges.values(), key=lambda each: search.cosine(each, ()))
        kept = search.fewest(chosen)
        model = search.write(chosen, graph.with_followers(kept))
        gain = math.inf
        if timed:
            checker.say("int8: timing it beside fp32")
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

    def __init__(self, graph: _Graph, candidate: Path, checker: ParityChecker, spec: ExportSpec) -> None:
        self.graph, self.candidate, self.checker, self.spec = graph, candidate, checker, spec
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
                [*kept, *self.graph.floats],
                list(self.operators),
                {},
            )
            quantizer.quantize_model()
        written: onnx.ModelProto = quantizer.model.model
        gates_by_clips(written)
        onnx.save(written, self.candidate)
        return written

    def cosine(self, ranges: Ranges, kept: tuple[str, ...], only: tuple[str, ...] = ()) -> float:
        """Mean cosine with PyTorch on a few images; of several outputs the least."""
        self.write(ranges, kept, only)
        resolved, images = self.checker.resolved, self.checker.images[:_RANKING_IMAGES]
        reference = tuple(output[:_RANKING_IMAGES] for output in self.checker.reference)
        found = outputs_of(open_onnx(self.candidate), images, resolved)
        try:
            return min(one.mean_cosine for one in compared(resolved, reference, found, ""))
        except ParityError:  # it is not finite
            return -1.0

    def fewest(self, ranges: Ranges) -> tuple[str, ...]:
        """The fewest products, of those that cause most error, that must stay in float."""
        if self._holds(ranges, ()):
            return ()
        names = self.graph.weighted
        between = self.graph.operators != self.graph.least
        if between and not self._holds(ranges, names, alone=True):
            # It is what stands between the products that costs too much, so that stays in float first.
            self.operators, between = self.graph.least, False
            if self._holds(ranges, ()):
                return ()
        alone = {}
        for i, name in enumerate(names):
            self.checker.say(f"int8: quantising product {i + 1} of {len(names)} alone, to find the harmful ones")
            alone[name] = self.cosine(ranges, (), (name,))
        worst = sorted(names, key=alone.__getitem__)
        found = self._first(ranges, worst, len(worst) // 2 if between else len(worst) - 1)
        if found is None and between:
            self.operators = self.graph.least
            found = () if self._holds(ranges, ()) else self._first(ranges, worst, len(worst) - 1)
        if found is None:
            raise ParityError(
                f"no int8 file keeps the stated loss: all {len(worst)} products would stay in float",
                "Allow more by --max-loss, or use fp16",
            )
        return found

    def _first(self, ranges: Ranges, worst: list[str], most: int) -> tuple[str, ...] | None:
        """As few of the worst as keep the bound, at most so many; None if more are needed. None at all do not."""
        low, high = 0, min(1, most)
        while high and not self._holds(ranges, tuple(worst[:high])):
            if high == most:
                return None
            low, high = high, min(2 * high, most)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._holds(ranges, tuple(worst[:middle])) else (middle, high)
        return tuple(worst[:high]) if high else None

    def _holds(self, ranges: Ranges, kept: tuple[str, ...], *, alone: bool = False) -> bool:
        """Whether a candidate keeps the bound; `alone` leaves only products in float, not what follows them."""
        self.tried += 1
        between = "" if self.operators == self.graph.operators else ", what stands between them in float"
        float_ones = f"{len(kept)} of {len(self.graph.weighted)} products in float"
        self.checker.say(f"int8: judging candidate {self.tried}, {float_ones}{between}")
        self.write(ranges, kept if alone else self.graph.with_followers(kept))
        artifact = open_onnx(self.candidate)
        bounds = bounds_of(self.spec)
        try:
            # The k-NN loss takes eight times as many images as all the rest.
            if broken(self.checker.parity(artifact, with_knn=False), replace(bounds, knn_loss=None)):
                return False
            return bounds.knn_loss is None or self.checker.knn_loss(artifact) <= bounds.knn_loss
        except ParityError:  # it is not finite, or PyTorch's own is not, which the last comparison says
            return False


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


def _prepared(path: Path, prepared: Path, *, for_cpu: bool) -> _Graph:
    with quiet():
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(prepared)
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    split_gates(model)
    global_pools(model)  # of which onnxruntime has an 8-bit form; of a mean it has none
    if for_cpu:
        fill_vectors(model)
    onnx.save(model, prepared)
    nodes = model.graph.node
    transformer = any(node.op_type in ("Softmax", "LayerNormalization") for node in nodes)
    weighted = tuple(node.name for node in nodes if node.op_type in _WEIGHTED)
    stem = _small_stem(model.graph, weighted) if for_cpu else ()
    before = before_products((node.name, node.op_type in _WEIGHTED, node.input, node.output) for node in nodes)
    return _Graph(
        model,
        _WEIGHTED if transformer else _WEIGHTED + _FUSED + _BETWEEN,
        _WEIGHTED if transformer else _WEIGHTED + _FUSED,
        tuple(name for name in weighted if name not in stem),
        before + _with_followers(model.graph, weighted, stem) + _scalings(model.graph),
    )


def _scalings(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Products with constants a channel: of the constants, which may differ by any factor, 8 bits would leave zeros."""
    constants = {tensor.name for tensor in graph.initializer if math.prod(tensor.dims) > 1}
    return tuple(node.name for node in graph.node if node.op_type == "Mul" and constants.intersection(node.input))


def _small_stem(graph: onnx.GraphProto, weighted: tuple[str, ...]) -> tuple[str, ...]:
    """The first product where it is a convolution of so few values that in 8 bits it only takes longer."""
    first = next((node for node in graph.node if node.name in weighted), None)
    if first is None or first.op_type != "Conv":
        return ()
    sides = {tensor.name: tensor.dims for tensor in graph.initializer}.get(first.input[1], ())
    return (first.name,) if sides and math.prod(sides[1:]) <= _FEW_VALUES else ()


def _with_followers(graph: onnx.GraphProto, weighted: tuple[str, ...], kept: tuple[str, ...]) -> tuple[str, ...]:
    sources: dict[str, frozenset[str]] = {}
    names = list(kept)
    for node in graph.node:
        if node.name in weighted:
            behind = frozenset({node.name})
        else:
            behind = frozenset().union(*(sources.get(name, frozenset()) for name in node.input))
            if behind and behind.issubset(kept):
                names.append(node.name)
        sources.update(dict.fromkeys(node.output, behind))
    return tuple(names)
