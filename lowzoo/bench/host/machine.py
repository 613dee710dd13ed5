"""What this computer is and how it fares: everything that may explain a figure, read from the system only."""

import os
import platform
from pathlib import Path

from lowzoo.bench.results.schema import Condition, Device
from lowzoo.system.cores import usable_cores
from lowzoo.system.load import busy_cores

# Instruction sets that decide which of two models is quicker, above all in int8.
_ISA = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")


def this_device() -> Device:
    """Describe the computer that this process runs on."""
    return Device(
        kind="computer",
        name=_read("/sys/devices/virtual/dmi/id/product_name"),
        cpu=_cpu_field("model name") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        memory_mb=_memory_mb(),
        isa=tuple(flag for flag in _ISA if flag in _cpu_flags()),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        os=f"{platform.system()} {platform.release()}",
        arch=platform.machine(),
    )


def condition_now(watch_s: float = 0.0) -> Condition:
    """Read load, temperature and battery of this computer.

    Args:
        watch_s: Seconds to watch how busy the processor is; 0 does not.
    """
    import psutil

    # Absent where psutil knows no batteries.
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return Condition(
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        busy_cores=busy_cores(watch_s),
        temperature_c=_temperature(),
        thermal_status=None,
        battery_percent=float(battery.percent) if battery else None,
        charging=battery.power_plugged if battery else None,
    )


def _cpu_field(key: str) -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _cpu_flags() -> set[str]:
    return set((_cpu_field("flags") or _cpu_field("Features") or "").split())


def _memory_mb() -> float:
    import psutil

    return float(round(psutil.virtual_memory().total / 1e6))


def _temperature() -> float | None:
    # Those of the board and the CPU; psutil's sensors would add disks and batteries to them.
    zones = Path("/sys/class/thermal").glob("thermal_zone*/temp")
    degrees = [int(text) / 1000 for zone in zones if (text := _read(zone)) and text.lstrip("-").isdigit()]
    return max(degrees, default=None)


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
