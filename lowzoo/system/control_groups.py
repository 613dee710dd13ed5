"""What the control groups of Linux leave to this process: containers and the jobs of clusters have their limits there.

The groups are nested, and the tightest limit on the way up holds. A limit may stand in a group that has no name of its
own inside a container, which is why the mounted root is read as well. Versions 1 and 2 of the interface have the same
facts under other names: https://docs.kernel.org/admin-guide/cgroup-v2.html.
"""

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
# Version 1 writes a number of this size where there is no limit.
_NO_LIMIT = 1 << 62


def memory_left(root: Path = _ROOT) -> int | None:
    """Bytes that this process may still take; None where no group has a limit.

    Pages of files that were read do not count as taken, as the system drops them when memory is wanted.

    Args:
        root: Root of the file system.
    """
    left = []
    for group in _groups("memory", root):
        limits = [_number(group / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        known = [limit for limit in limits if limit is not None and limit < _NO_LIMIT]
        used = _number(group / "memory.current", group / "memory.usage_in_bytes")
        if known and used is not None:
            left.append(min(known) - used + _droppable(group))
    return max(0, min(left)) if left else None


def cpu_limit(root: Path = _ROOT) -> float | None:
    """CPU time that this process may use, in cores, such as 1.5; None where no group has a limit.

    Args:
        root: Root of the file system.
    """
    limits = []
    for group in _groups("cpu", root):
        both = _read(group / "cpu.max").split()
        if len(both) != 2:
            both = [_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        try:
            quota, period = (int(word) for word in both)
        except ValueError:  # "max", or no such files
            continue
        if quota > 0 and period > 0:
            limits.append(quota / period)
    return min(limits) if limits else None


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """This process's group of either version, and those around it."""
    mounted = root / "sys" / "fs" / "cgroup"
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controller not in controllers.split(","):
            continue
        # Several controllers may share a folder, of which each alone is a link.
        if number == "0":
            base = mounted
        else:
            base = next((each for each in (mounted / controller, mounted / controllers) if each.is_dir()), mounted)
        group = base / path.strip("/")
        yield group
        if group != base:
            yield from (parent for parent in group.parents if parent.is_relative_to(base))


def _droppable(group: Path) -> int:
    """Bytes of pages of files that were not used of late."""
    lines = _read(group / "memory.stat").splitlines()
    found = {name: value for name, _, value in (line.partition(" ") for line in lines)}
    value = found.get("total_inactive_file", found.get("inactive_file", ""))
    return int(value) if value.isdecimal() else 0


def _number(*files: Path) -> int | None:
    """What the first file holds that is a number; "max" is none."""
    for file in files:
        try:
            return int(_read(file))
        except ValueError:
            continue
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):  # none, or no name of a file
        return ""
