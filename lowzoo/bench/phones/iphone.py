"""The iphone target: coremltools' MLModelBenchmarker drives a connected iPhone from a Mac with Xcode.

Never run on hardware by this project: what is tested is everything up to the first call that needs the phone, and the
reading of what such calls give.
"""

import asyncio
import hashlib
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.bench.results.assemble import assemble, now_utc, repeat_of
from lowzoo.bench.results.protocol import STANDARD, Protocol, runs_for
from lowzoo.bench.results.schema import BenchResult, Condition, Device, Engine, ModelFile, ModelInput, Repeat
from lowzoo.bench.subjects.artifact import picture
from lowzoo.preprocess.input_facts import channels_last

UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "cpu-and-gpu": "CPU_AND_GPU", "cpu-and-ne": "CPU_AND_NE"}
PROBE_RUNS = 5
_UNKNOWN = Condition(load_average=None, temperature_c=None, thermal_status=None, battery_percent=None, charging=None)


def check_here() -> None:
    """Refuse where no iPhone can be driven.

    Raises:
        LowzooError: This is no Mac.
    """
    if sys.platform != "darwin":
        raise LowzooError(
            "an iPhone is driven by Xcode on a Mac, which this computer is not",
            "Run it there, or open the page of `lowzoo bench MODEL --on browser --lan` on the phone",
        )


def bench_iphone(
    artifact: Path,
    *,
    name: str | None = None,
    team: str | None = None,
    units: str = "all",
    protocol: Protocol = STANDARD,
) -> BenchResult:
    """Time a Core ML package on a connected iPhone, one fresh session a repeat.

    Args:
        artifact: The .mlpackage.
        name: Name of the phone, when several are connected.
        team: Apple development team that signs coremltools' runner app.
        units: One of `UNITS`.
        protocol: How long and how often.

    Raises:
        LowzooError: No Mac, no phone, several of them, or a package that cannot be opened.
    """
    check_units(units)
    check_here()
    start = now_utc()
    phone = asyncio.run(_prepare(name, team))
    make, inputs, given = benchmarker_of(artifact, units, phone)
    repeats = asyncio.run(measure(make, inputs, protocol))
    return as_result(artifact, repeats, phone, units, given, protocol, start)


def check_units(units: str) -> None:
    """Refuse unknown compute units.

    Raises:
        LowzooError: Not one of `UNITS`.
    """
    if units not in UNITS:
        raise LowzooError(f"unknown compute units {units!r}", f"Use --units {' or '.join(UNITS)}")


def benchmarker_of(artifact: Path, units: str, phone: Any) -> tuple[Callable[[], Any], dict[str, Any], ModelInput]:
    """Open a package for timing; no call of this needs a phone.

    Args:
        artifact: The .mlpackage.
        units: One of `UNITS`.
        phone: coremltools' device.

    Returns:
        What makes a fresh MLModelBenchmarker, what it is fed, and that in words.

    Raises:
        LowzooError: It is no package, or takes no picture.
    """
    import coremltools
    from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker
    from PIL import Image

    try:
        model = coremltools.models.MLModel(
            str(artifact), compute_units=getattr(coremltools.ComputeUnit, UNITS[units]), skip_model_load=True
        )
        (taken,) = model.get_spec().description.input
    except Exception as error:  # coremltools raises what protobuf and its C++ raise
        reason = reason_of(error)
        raise LowzooError(f"{artifact} is no Core ML package with one input ({reason})", "Export it again") from error
    kind = taken.type.WhichOneof("Type")
    if kind == "imageType":
        # coremltools 9 makes random inputs for arrays only, never for images: one must be given.
        image = taken.type.imageType
        planes = 1 if image.colorSpace == image.GRAYSCALE else 3
        shape: tuple[int, ...] = (1, image.height, image.width, planes)
        pixels, photo = picture((1, shape[1], shape[2], planes), np.dtype(np.uint8))
        value: Any = Image.fromarray(pixels[0, :, :, 0] if planes == 1 else pixels[0])
    else:
        shape = tuple(taken.type.multiArrayType.shape)
        if len(shape) != 4 or channels_last(shape) is not False:
            raise LowzooError(f"{artifact} does not take one picture, but {list(shape)}", "Export it again")
        value, photo = picture((shape[0], shape[1], shape[2], shape[3]), np.dtype(np.float32))
    given = ModelInput(name=taken.name, type=kind, shape=shape, content=f"photograph {photo}")
    return (lambda: MLModelBenchmarker(model=model, device=phone)), {taken.name: value}, given


async def measure(make: Callable[[], Any], inputs: dict[str, Any], protocol: Protocol) -> list[Repeat]:
    """Time by the protocol; coremltools is told numbers of runs, so a few runs tell first how long one takes.

    Args:
        make: Gives a fresh benchmarker.
        inputs: What the model is fed.
        protocol: How long and how often.
    """
    repeats = []
    for _ in range(protocol.repeats):
        benchmarker = make()
        load = await benchmarker.benchmark_load(iterations=1)
        first = await benchmarker.benchmark_predict(inputs=inputs, iterations=1, warmup=False)
        probe = await benchmarker.benchmark_predict(inputs=inputs, iterations=PROBE_RUNS, warmup=False)
        warmups, runs = runs_for(sorted(probe.samples)[PROBE_RUNS // 2], protocol)
        timed = await benchmarker.benchmark_predict(inputs=inputs, iterations=warmups + runs, warmup=False)
        repeats.append(
            repeat_of(
                timed.samples[warmups:],
                load_ms=load.samples[0],
                first_run_ms=first.samples[0],
                warmup_runs=1 + PROBE_RUNS + warmups,
                baseline_memory_mb=None,
                peak_memory_mb=None,
            )
        )
    return repeats


def as_result(
    artifact: Path, repeats: list[Repeat], phone: Any, units: str, given: ModelInput, protocol: Protocol, start: str
) -> BenchResult:
    """The result in the one schema."""
    from lowzoo.export.artifacts.metadata import UNCHECKED
    from lowzoo.export.formats.coreml.writer import notes_of_coreml

    reason = notes_of_coreml(artifact).get(UNCHECKED, "")
    files = sorted(file for file in artifact.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(artifact).as_posix().encode() + b"\0" + file.read_bytes())
    return assemble(
        repeats,
        target="iphone",
        unit="session",
        measured_at=start,
        protocol=protocol,
        device=Device(
            kind="phone",
            name=phone.name,
            cpu=None,
            cores=None,
            isa=(),
            governor=None,
            os=f"iOS {phone.os_version}",
            arch="arm64",
        ),
        before=_UNKNOWN,
        after=_UNKNOWN,
        engine=Engine(
            name="coreml",
            version=f"iOS {phone.os_version} ({phone.os_build_number})",
            provider=units,
            threads=1,
            settings={"driven_by": f"coremltools {version('coremltools')}"},
        ),
        model=ModelFile(
            file=artifact.name,
            sha256=digest.hexdigest(),
            size_bytes=sum(file.stat().st_size for file in files),
            name=None,
            revision=None,
            precision=None,
        ),
        input=given,
        versions={"lowzoo": version("lowzoo"), "coremltools": version("coremltools")},
        warnings=[f"the file was exported unchecked: {reason}"] if reason else [],
    )


async def _prepare(name: str | None, team: str | None) -> Any:
    from coremltools.models.ml_program.experimental.remote_device import AppSigningCredentials, Device, DeviceType

    try:
        phones = [phone for phone in Device.get_connected_devices(DeviceType.IPHONE) if name in (None, phone.name)]
    except Exception as error:  # devicectl's own family of errors is private
        raise LowzooError(f"Xcode cannot list phones ({error})", "Install Xcode and open it once") from error
    if not phones:
        raise LowzooError(f"no iPhone{f' named {name}' if name else ''} is connected", "Plug it in and unlock it")
    if len(phones) > 1:
        names = ", ".join(phone.name for phone in phones)
        raise LowzooError(f"{len(phones)} iPhones are connected ({names})", "Name one with --device")
    credentials = AppSigningCredentials(development_team=team) if team else None
    return await phones[0].prepare_for_model_debugging(credentials=credentials)
