"""The cloud target: Qualcomm AI Hub times a model on a real phone in a rack, through its own client.

Never run with an account by this project: what is tested is everything up to the first call that needs one, and the
reading of what a profile job gives. A profile holds every run (microseconds), loading and memory (bytes).
"""

import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.bench.results.assemble import assemble, now_utc, repeat_of
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import BenchResult, Condition, Device, Engine, ModelFile, ModelInput
from lowzoo.bench.subjects.artifact import open_onnx
from lowzoo.export.spec.large import refuse_two_files

POLL_S = 10.0
TOKEN_REMEDY = "Get one at aihub.qualcomm.com, then run `qai-hub configure --api_token TOKEN`"
_UNKNOWN = Condition(load_average=None, temperature_c=None, thermal_status=None, battery_percent=None, charging=None)


def open_hub() -> Any:
    """Qualcomm's client, with an account.

    Raises:
        LowzooError: It is not installed, there is no token, or the token is not accepted.
    """
    if find_spec("qai_hub") is None:
        raise LowzooError("qai-hub is not installed", "Run `pip install lowzoo[cloud]`")
    import qai_hub

    try:
        qai_hub.get_frameworks()
    except qai_hub.UserError as error:
        raise LowzooError("there is no valid token for Qualcomm AI Hub", TOKEN_REMEDY) from error
    except Exception as error:  # what its http client raises
        raise LowzooError(f"Qualcomm AI Hub cannot be reached ({_short(error)})", "Look at your network") from error
    return qai_hub


def bench_cloud(
    artifact: Path,
    hub: Any,
    *,
    device: str | None,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> BenchResult:
    """Compile an ONNX file for a phone of the cloud, time it there, and fetch the profile.

    Args:
        artifact: The ONNX file.
        hub: What `open_hub` gave.
        device: Name of the phone, as Qualcomm spells it.
        say: Told what happens.
        sleep: Waits between two looks at a job.

    Raises:
        LowzooError: No such phone, or a job that fails.
    """
    refuse_two_files(artifact, "the cloud")
    file = open_onnx(artifact)
    phone = _phone(hub, device)
    start = now_utc()
    try:
        compiled = hub.submit_compile_job(model=str(artifact), device=phone, options="--target_runtime onnx")
        _wait(compiled, "compile", say, sleep)
        profiled = hub.submit_profile_job(model=compiled.get_target_model(), device=phone)
        _wait(profiled, "profile", say, sleep)
        profile = profiled.download_profile()
    except hub.Error as error:
        raise LowzooError(f"Qualcomm AI Hub refuses ({_short(error)})", "Look at the job on its page") from error
    return result_of(
        profile, file.facts(), file.input_facts("random numbers of the service"), phone, profiled.url, start
    )


def result_of(
    profile: dict[str, Any], model: ModelFile, given: ModelInput, phone: Any, url: str, start: str
) -> BenchResult:
    """A profile in the one schema.

    Args:
        profile: What `ProfileJob.download_profile` gives.
        model: The file that was sent.
        given: What it was fed.
        phone: Qualcomm's description of the device.
        url: Address of the job.
        start: UTC, ISO 8601.

    Raises:
        LowzooError: The profile holds no single runs.
    """
    found = profile.get("execution_summary", {})
    times = found.get("all_inference_times") or []
    if not times:
        raise LowzooError("the profile holds no single runs", f"Look at {url}")
    peaks = found.get("inference_memory_peak_range") or (None, None)
    units = sorted({layer["compute_unit"] for layer in profile.get("execution_detail", []) if "compute_unit" in layer})
    repeat = repeat_of(
        [microseconds / 1e3 for microseconds in times],
        load_ms=_milliseconds(found.get("warm_load_time")),
        first_run_ms=None,
        warmup_runs=None,
        baseline_memory_mb=None,
        peak_memory_mb=round(peaks[1] / 1e6, 2) if peaks[1] else None,
    )
    return assemble(
        [repeat],
        target="cloud",
        unit="job",
        measured_at=start,
        protocol=Protocol(warmup_s=0.0, min_runs=len(times), min_s=0.0, max_s=3600.0, repeats=1),
        device=Device(
            kind="phone",
            name=phone.name,
            cpu=None,
            soc=_attribute(phone, "chipset"),
            cores=None,
            isa=(),
            governor=None,
            os=f"{(_attribute(phone, 'os') or 'Android').capitalize()} {phone.os}",
            arch=None,
        ),
        before=_UNKNOWN,
        after=_UNKNOWN,
        engine=Engine(
            name="qai-hub",
            version=url,
            provider="+".join(units) or "unknown",
            threads=1,
            settings={"cold_load_ms": str(_milliseconds(found.get("first_load_time")))},
        ),
        model=model,
        input=given,
        versions={"lowzoo": version("lowzoo")},
        warnings=("Qualcomm's protocol, not lowzoo's: runs and warm-up are the service's",),
    )


def _phone(hub: Any, name: str | None) -> Any:
    if not name:
        raise LowzooError("the cloud has many phones", "Name one with --device, as `qai-hub list-devices` spells it")
    phones = hub.get_devices(name=name)
    if not phones:
        raise LowzooError(f"the cloud has no phone {name!r}", "See `qai-hub list-devices`")
    return phones[-1]


def _wait(job: Any, what: str, say: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    say(f"{what}: {job.url}")
    last = None
    while True:
        status = job.get_status()
        if status.code != last:
            say(f"{what}: {status.code.lower().replace('_', ' ')}")
            last = status.code
        if status.success:
            return
        if status.failure:
            raise LowzooError(f"the {what} job failed ({_short(status.message)})", f"Look at {job.url}")
        sleep(POLL_S)


def _attribute(phone: Any, key: str) -> str | None:
    words = [phone.attributes] if isinstance(phone.attributes, str) else phone.attributes
    return next((word.partition(":")[2] for word in words if word.startswith(f"{key}:")), None)


def _milliseconds(microseconds: float | None) -> float | None:
    return microseconds / 1e3 if microseconds else None


def _short(text: object) -> str:
    return " ".join(str(text).split())[:160]
