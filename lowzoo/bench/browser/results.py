"""From what a device said to results of the one schema, one a back end."""

import re
from importlib.metadata import version

from lowzoo.bench.browser.collector import DeviceState, Run
from lowzoo.bench.browser.messages import Battery, Facts
from lowzoo.bench.results.assemble import assemble, repeat_of
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import BenchResult, Condition, Device, Engine, ModelFile, ModelInput
from lowzoo.serving.runtime import Runtime

_SYSTEMS = (
    (r"Android ([\d.]+)", "Android {}"),
    (r"(?:iPhone|iPad|CPU) OS ([\d_]+)", "iOS {}"),
    (r"Mac OS X ([\d_]+)", "macOS {}"),
    (r"Windows NT ([\d.]+)", "Windows NT {}"),
    (r"(Linux)", "{}"),
)
_BROWSERS = ((r"Firefox/([\d.]+)", "Firefox"), (r"Version/([\d.]+).*Safari", "Safari"), (r"Chrome/([\d.]+)", "Chrome"))


def results_of(
    device: DeviceState, state: str, model: ModelFile, given: ModelInput, protocol: Protocol, runtime: Runtime
) -> list[BenchResult]:
    """The results of every back end of which at least one repeat came in.

    Args:
        device: What it said.
        state: What it does now, of `DeviceState.state`.
        model: The file that it ran.
        given: What the model was fed.
        protocol: That it followed.
        runtime: The onnxruntime-web that it ran.
    """
    facts = device.hello.facts
    ended = device.finished.battery if device.finished else None
    return [
        assemble(
            [
                repeat_of(
                    repeat.samples_ms,
                    load_ms=repeat.load_ms,
                    first_run_ms=repeat.first_run_ms,
                    warmup_runs=repeat.warmup_runs,
                    runs_per_sample=repeat.runs_per_sample,
                    baseline_memory_mb=None,
                    peak_memory_mb=None,
                )
                for repeat in run.repeats
            ],
            target="browser",
            measured_at=device.started,
            unit="worker",
            protocol=protocol,
            device=describe(facts),
            before=_condition(facts.battery),
            after=_condition(ended),
            engine=Engine(
                name="onnxruntime-web",
                version=runtime.version,
                provider="WebGPU" if run.plan.backend == "webgpu" else "WASM",
                threads=run.plan.threads,
                settings={
                    "graph_optimization": "all",
                    "browser": browser_of(facts),
                    "cross_origin_isolated": str(facts.isolated).lower(),
                    "clock_step_ms": f"{max(repeat.clock_step_ms for repeat in run.repeats):.4g}",
                    **({"gpu": facts.gpu} if run.plan.backend == "webgpu" and facts.gpu else {}),
                },
            ),
            model=model,
            input=given,
            parity=run.parity,
            versions={"lowzoo": version("lowzoo"), "onnxruntime-web": runtime.version},
            warnings=_warnings(device, run, state, protocol),
        )
        for run in device.runs
        if run.repeats
    ]


def describe(facts: Facts) -> Device:
    """The device as far as its browser tells."""
    system = next(
        (
            text.format(found[1].replace("_", "."))
            for pattern, text in _SYSTEMS
            if (found := re.search(pattern, facts.user_agent))
        ),
        facts.platform or "unknown system",
    )
    if facts.platform and facts.platform_version:
        system = f"{facts.platform} {facts.platform_version}"
    return Device(
        kind="phone" if facts.mobile else "computer",
        name=facts.model or None,
        cpu=None,
        cores=facts.cores,
        memory_mb=facts.memory_gb * 1000 if facts.memory_gb else None,
        isa=(),
        governor=None,
        os=system,
        arch=facts.architecture or None,
    )


def browser_of(facts: Facts) -> str:
    """Name and version of the browser."""
    if facts.browser:
        return facts.browser
    return next(
        (f"{name} {found[1]}" for pattern, name in _BROWSERS if (found := re.search(pattern, facts.user_agent))),
        "unknown",
    )


def device_title(facts: Facts) -> str:
    """Model, system and browser in a line."""
    return ", ".join(part for part in (facts.model, describe(facts).os, browser_of(facts)) if part)


def _condition(battery: Battery | None) -> Condition:
    return Condition(
        load_average=None,
        temperature_c=None,
        thermal_status=None,
        battery_percent=battery.percent if battery else None,
        charging=battery.charging if battery else None,
    )


def _warnings(device: DeviceState, run: Run, state: str, protocol: Protocol) -> list[str]:
    said = ["a browser's figure: native runtimes on the same device are quicker"]
    if not device.hello.facts.mobile:
        said.append("a computer's browser: a regression guard, not a phone")
    if len(run.repeats) < protocol.repeats:
        how = {"running": "was stopped", "gone": "has gone"}.get(state, state)
        said.append(f"the device {how} after {len(run.repeats)} of {protocol.repeats} workers")
    if run.failure:
        said.append(f"the back end failed: {run.failure}")
    if any(repeat.hidden for repeat in run.repeats):
        said.append("the page was in the background for a while")
    grouped = max(repeat.runs_per_sample for repeat in run.repeats)
    if grouped > 1:
        said.append(f"the browser's clock is coarse: each sample is the mean of up to {grouped} runs")
    if run.parity is not None and not run.parity.agrees:
        said.append(f"the features do not agree with {run.parity.reference}: cosine {run.parity.cosine:.5f}")
    return said
