"""The choice among several ways to int8: the first that keeps the bound, and what is said of the others."""

from dataclasses import replace

import pytest

from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats.onnx.runtime import open_onnx
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.quantization.int8 import first_that_holds
from tests.helpers.export import tiny_resolved

SPEC = ExportSpec(precision="int8", max_loss=MaxLoss(1.0))


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return open_onnx(write_artifact(tiny_resolved(), out=tmp_path_factory.mktemp("ways") / "x.onnx").path)


@pytest.mark.slow
def test_the_first_way_that_holds(exact):
    wrong = replace(exact, run=lambda rows: tuple(-output for output in exact.run(rows)))
    written = []

    def way(name, artifact):
        return lambda: written.append(name) or artifact

    checker = ParityChecker(tiny_resolved(), knn_pictures=40)
    ways = {"good": way("good", exact), "never tried": way("never tried", exact)}
    assert first_that_holds(ways, SPEC, checker) == ("good", ())
    name, (warning,) = first_that_holds({"turned": way("turned", wrong), "good": way("good", exact)}, SPEC, checker)
    assert name == "good"
    assert warning.startswith("int8 is good, because turned gives smallest cosine -1.0")
    assert written == ["good", "turned", "good"]


def test_where_nothing_can_be_written_no_loss_is_offered():
    def fails():
        raise ParityError("a file in which no weight is int8", "Use fp32")

    with pytest.raises(
        ParityError, match=r"^no int8 file can be written: it gives a file in which .* int8\. Use fp32$"
    ):
        first_that_holds({"it": fails}, SPEC, ParityChecker(tiny_resolved()))


def test_no_way_holds(exact):
    def fails():
        raise ParityError("the quantizer fails (odd)", "Use fp32")

    wrong = replace(exact, run=lambda rows: tuple(-output for output in exact.run(rows)))
    with pytest.raises(
        ParityError, match=r"turned gives smallest cosine -1.*; broken gives the quantizer fails \(odd\)"
    ):
        first_that_holds({"turned": lambda: wrong, "broken": fails}, SPEC, ParityChecker(tiny_resolved()))
