"""The iphone target without a phone: what opens a package, what is asked of a benchmarker, and what becomes of it."""

import asyncio
import sys
from types import SimpleNamespace

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.phones.iphone import PROBE_RUNS, as_result, bench_iphone, benchmarker_of, check_units, measure
from lowzoo.bench.results.assemble import check_samples, now_utc
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import ModelInput
from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from tests.helpers.export import tiny_resolved

perf_utils = pytest.importorskip("coremltools.models.ml_program.experimental.perf_utils")
Measurement = perf_utils.MLModelBenchmarker.Measurement
PROTOCOL = Protocol(warmup_s=0.01, min_runs=20, min_s=0.05, max_s=1.0, repeats=2)
PHONE = SimpleNamespace(name="Ann's iPhone", os_version="18.2", os_build_number="22C152")
GIVEN = ModelInput(name="image", type="imageType", shape=(1, 32, 32, 3), content="photograph")


class Benchmarker:
    """Answers as coremltools' own does, with its own kind of answer; a run takes 2 ms, the first one 9."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def benchmark_load(self, iterations):
        return Measurement.from_samples(samples=[41.5] * iterations)

    async def benchmark_predict(self, inputs, iterations, warmup):
        assert list(inputs) == ["image"]
        assert not warmup, "a single run would not warm anything up"
        self.asked.append(iterations)
        return Measurement.from_samples(
            samples=[9.0 if len(self.asked) == 1 else 2.0 + 0.001 * i for i in range(iterations)]
        )


def test_the_protocol_is_followed_and_every_sample_kept(tmp_path):
    made = []

    def make():
        made.append(Benchmarker())
        return made[-1]

    repeats = asyncio.run(measure(make, {"image": None}, PROTOCOL))
    assert len(made) == PROTOCOL.repeats, "a fresh session each"
    assert made[0].asked == [1, PROBE_RUNS, 5 + 25], "10 ms to warm up, then 50 ms of 2 ms each"
    assert repeats[0].samples_ms == tuple(2.0 + 0.001 * i for i in range(5, 30))
    assert (repeats[0].load_ms, repeats[0].first_run_ms) == (41.5, 9.0)
    package = tmp_path / "tiny.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data/weights").write_bytes(b"weights")
    result = as_result(package, repeats, PHONE, "cpu-and-ne", GIVEN, PROTOCOL, now_utc())
    check_samples(result)
    assert (result.target, result.unit, result.device.kind, result.device.name) == (
        "iphone",
        "session",
        "phone",
        PHONE.name,
    )
    assert (result.device.os, result.engine.provider, result.model.size_bytes) == ("iOS 18.2", "cpu-and-ne", 7)
    (package / "Data/weights").rename(package / "Data/other")
    other = as_result(package, repeats, PHONE, "cpu-and-ne", GIVEN, PROTOCOL, now_utc())
    assert other.model.sha256 != result.model.sha256, "names of the files count"


@pytest.mark.slow
def test_a_real_package_up_to_the_phone(tmp_path):
    package = write_artifact(
        tiny_resolved(), ExportSpec(format="coreml", precision="fp32"), tmp_path / "tiny.mlpackage"
    ).path
    make, inputs, given = benchmarker_of(package, "cpu", None)
    assert (given.name, given.type, given.shape) == ("image", "imageType", (1, 32, 32, 3))
    assert inputs["image"].size == (32, 32)
    benchmarker = make()
    assert isinstance(benchmarker, perf_utils.MLModelBenchmarker)
    assert benchmarker.compute_units.name == "CPU_ONLY"
    with pytest.raises(LowzooError, match="is no Core ML package"):
        benchmarker_of(tmp_path / "none.mlpackage", "cpu", None)


@pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac")
def test_elsewhere_one_line_says_so(tmp_path):
    with pytest.raises(LowzooError, match=r"driven by Xcode on a Mac, which this computer is not\. Run it there"):
        bench_iphone(tmp_path)


def test_unknown_units():
    with pytest.raises(LowzooError, match="unknown compute units 'npu'"):
        check_units("npu")
