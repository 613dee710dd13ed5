"""The cloud target without an account: what is asked of Qualcomm's client, and what becomes of a profile."""

import sys
from types import SimpleNamespace

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.phones.cloud import bench_cloud, open_hub
from lowzoo.bench.results.assemble import check_samples
from lowzoo.bench.results.protocol import statistics

# The shape of what ProfileJob.download_profile gives (qai-hub 0.56): microseconds and bytes.
PROFILE = {
    "execution_summary": {
        "estimated_inference_time": 1710,
        "estimated_inference_peak_memory": 20_000_000,
        "first_load_time": 900_000,
        "warm_load_time": 120_500,
        "inference_memory_peak_range": (0, 31_457_280),
        "all_inference_times": [1710, 1745, 1733, 1801],
    },
    "execution_detail": [{"name": "conv", "compute_unit": "NPU"}, {"name": "cast", "compute_unit": "CPU"}],
}


class Job:
    def __init__(self, states, url, profile=None):
        self._states = iter(states)
        self.url = url
        self._profile = profile

    def get_status(self):
        code = next(self._states)
        return SimpleNamespace(
            code=code, success=code == "SUCCESS", failure=code == "FAILED", message="no such operator"
        )

    def get_target_model(self):
        return "compiled"

    def download_profile(self):
        return self._profile


class Hub:
    """The part of the client that is used."""

    class Error(Exception):
        pass

    class UserError(Error):
        pass

    def __init__(self, states=("SUCCESS",), profile=PROFILE, token=True):
        self.states = states
        self.profile = profile
        self.token = token
        self.asked = []

    def get_frameworks(self):
        if not self.token:
            raise self.UserError(
                "Failed to load client configuration file.\n\n+----+\n| client.ini not found |\n+----+"
            )
        return []

    def get_devices(self, name):
        phone = SimpleNamespace(name=name, os="14", attributes=["chipset:qualcomm-snapdragon-8gen3", "os:android"])
        return [phone] if name == "Samsung Galaxy S24" else []

    def submit_compile_job(self, model, device, options):
        self.asked.append(("compile", device.name, options))
        return Job(["CREATED", "CREATED", *self.states], "https://hub/jobs/c")

    def submit_profile_job(self, model, device):
        if model != "compiled":
            raise self.Error("not a target model")
        self.asked.append(("profile", device.name))
        return Job(["SUCCESS"], "https://hub/jobs/p", self.profile)


def bench(artifact, hub, device="Samsung Galaxy S24"):
    said, waits = [], []
    return bench_cloud(artifact, hub, device=device, say=said.append, sleep=waits.append), said, waits


def test_from_file_to_profile(artifact):
    hub = Hub()
    result, said, waits = bench(artifact, hub)
    check_samples(result)
    assert hub.asked == [("compile", "Samsung Galaxy S24", "--target_runtime onnx"), ("profile", "Samsung Galaxy S24")]
    assert said == [
        "compile: https://hub/jobs/c",
        "compile: created",
        "compile: success",
        "profile: https://hub/jobs/p",
        "profile: success",
    ]
    assert len(waits) == 2
    assert result.statistics == statistics([1.71, 1.745, 1.733, 1.801])
    assert (result.load_ms, result.peak_memory_mb) == (120.5, 31.46)
    assert (result.device.kind, result.device.soc, result.device.os) == (
        "phone",
        "qualcomm-snapdragon-8gen3",
        "Android 14",
    )
    assert result.engine.provider == "CPU+NPU"
    assert any("Qualcomm's protocol" in warning for warning in result.warnings)


def test_jobs_and_devices_that_fail(artifact):
    with pytest.raises(LowzooError, match=r"the compile job failed \(no such operator\)\. Look at https://hub/jobs/c"):
        bench(artifact, Hub(states=["FAILED"]))
    with pytest.raises(LowzooError, match="no phone 'Nokia 3310'"):
        bench(artifact, Hub(), "Nokia 3310")
    with pytest.raises(LowzooError, match="Name one with --device"):
        bench(artifact, Hub(), None)
    with pytest.raises(LowzooError, match="holds no single runs"):
        bench(artifact, Hub(profile={"execution_summary": {"estimated_inference_time": 5}}))


def test_no_client_and_no_token(monkeypatch):
    monkeypatch.setattr("lowzoo.bench.phones.cloud.find_spec", lambda name: None)
    with pytest.raises(LowzooError, match=r"qai-hub is not installed\. Run `pip install lowzoo\[cloud\]`"):
        open_hub()
    monkeypatch.setattr("lowzoo.bench.phones.cloud.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "qai_hub", Hub(token=False))
    with pytest.raises(
        LowzooError, match=r"no valid token for Qualcomm AI Hub\. Get one at aihub\.qualcomm\.com"
    ) as refused:
        open_hub()
    assert "\n" not in str(refused.value)
    monkeypatch.setitem(sys.modules, "qai_hub", Hub())
    assert open_hub() is sys.modules["qai_hub"]
