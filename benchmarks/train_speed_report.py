"""The report of `train_speed.py`: which speeds are compared, and all of them as tables."""

from typing import Any

PEERS = ("lightly-train", "plain loop")
_ALONE = ", views alone"


def ratios(rows: dict[str, dict[str, Any]], bounds: dict[str, float]) -> dict[str, dict[str, float]]:
    """Lowzoo's sides over the peers'.

    Args:
        rows: Rows of all sides at one point.
        bounds: What each of lowzoo's sides is measured against. Views alone are compared with the peers' views alone,
            all else with their training.
    """
    found = {}
    for side, bound in bounds.items():
        for peer in PEERS:
            other = f"{peer}{_ALONE}" if side.endswith(_ALONE) else peer
            ours, theirs = rows[side], rows[other]
            found[f"{side} / {other}"] = {
                "ratio": round(ours["images_per_processor_s"] / theirs["images_per_processor_s"], 3),
                "by_the_clock": round(ours["images_per_s"] / theirs["images_per_s"], 2),
                "bound": bound,
            }
            if side.endswith(_ALONE):
                found[f"{side} / {other}"]["workers"] = round(of_workers(ours) / of_workers(theirs), 2)
    return found


def of_workers(row: dict[str, Any]) -> float:
    """Images per second of the workers' processor time alone."""
    return float(row["images_per_processor_s"] / row["workers_share"])


def as_markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    lines = [
        "# Speed of training beside others",
        "",
        f"{report['cores']} cores, one thread that trains and {report['workers']} worker on every side, fp32; images a "
        "second of processor time are compared. Script: `benchmarks/train_speed.py`, which says what the points are. "
        "The sides of a point were measured in one run, one after the other.",
        "",
    ]
    for name, point in report["points"].items():
        lines += [
            f"## {name}",
            "",
            f"{point['processor']}; load average at the end: {point['load_average'][0]}; "
            + ", ".join(f"{package} {version}" for package, version in point["versions"].items())
            + ".",
            "",
            "| side | images a processor second (turns) | in workers | images/s | a step, ms: median (min to max) |",
            "|---|---|---|---|---|",
        ]
        for side, row in point["sides"].items():
            step = row["step_ms"]
            spread = f"{step['median']} ({step['min']} to {step['max']})"
            share = f"{100 * row['workers_share']:.0f} %"
            turns = row.get("turns", [])
            speed = f"{row['images_per_processor_s']}" + (f" ({min(turns)} to {max(turns)})" if len(turns) > 1 else "")
            lines.append(f"| {side} | {speed} | {share} | {row['images_per_s']} | {spread} |")
        lines += ["", "| ratio | of processor time | wanted | by the clock | of the workers' processor time |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {what} | {found['ratio']:.3f}{' (missed)' if found['ratio'] < found['bound'] else ''} | "
            f"{found['bound']} | {found['by_the_clock']} | {found.get('workers', '')} |"
            for what, found in point["ratios"].items()
        ]
        lines.append("")
    return "\n".join(lines)
