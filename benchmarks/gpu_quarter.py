"""What whoever has a GPU for a quarter of an hour runs first: is the device path right, how fast is it, what comes out.

    python benchmarks/gpu_quarter.py [--minutes 12] [--out DIR] [--data TRAIN.parquet] [--device cuda] [--small]

Three pieces, in this order, each stored when it is done; a second call with the same DIR goes on with what is missing.

    methods     three steps of every method on the device beside the same steps on the CPU: in fp32 their losses have
                to agree within 1e-3, in bf16 to be finite numbers
    throughput  RoB with ViT-Tiny and MobileNetV3-Large from teachers shaped as ViT-S/16 and ViT-B/16 (random
                weights, which change no time), 2 x 224 and 8 x 96 px: cached and not, compiled and not; images/s, share
                of the measured peak of bf16 matmuls, peak memory beside the two estimates of it
    training    with what is left: a self-supervised teacher on the images of --data (tiny-imagenet-100, 64 px, patches
                of 8), then a RoB, a SEED and an SSLight student, each in its share of the minutes that are left

DIR holds `report.json`, `report.md` and weights in fp16, no file of 16 MB or more. --small does all of it on a few
generated pictures with the smallest networks, on a CPU too. Exit status 1 if a method is wrong or a piece was left out.
"""

import argparse
import importlib.util
import json
import math
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEEDED = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "PIL",
    "pydantic",
    "safetensors",
    "huggingface_hub",
    "filelock",
    "rich",
)
TRAINING = ("cv2", "pyarrow", "matplotlib")
OPTIONAL = ("datasets", "coremltools", "onnx", "onnxruntime")
STEPS, TOLERANCE, FILE_BYTES = 3, 1e-3, 15_000_000
# Shares of the minutes that are left when the training begins.
SHARES = {"teacher": 0.4, "rob": 0.3, "seed": 0.5, "sslight": 1.0}


def main() -> int:
    options = arguments()
    began = time.monotonic()
    absent = {name for name in (*NEEDED, *TRAINING, *OPTIONAL) if importlib.util.find_spec(name) is None}
    print(f"Python {platform.python_version()}; missing: {', '.join(sorted(absent)) or 'nothing'}")
    if bad := sorted(absent & set(NEEDED)):
        print(f"Nothing can run without {', '.join(bad)}. Run: pip install {' '.join(bad)}", file=sys.stderr)
        return 2
    if lacking := sorted(absent & set(TRAINING)):
        print(f"The pieces methods and training need {', '.join(lacking)}. Run: pip install 'lowzoo[train]'")
    if absent & set(OPTIONAL):
        print(f"Not needed here: {', '.join(sorted(absent & set(OPTIONAL)))}")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("There is no GPU here. Try the small form: --device cpu --small", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    print(f"torch {torch.__version__} on {name}; {options.minutes:g} minutes; results in {options.out}")
    report = Report(options.out, {"device": name, "torch": torch.__version__, "small": options.small})
    deadline = began + 60 * options.minutes
    for piece, work, needs in (
        ("methods", methods, TRAINING),
        ("throughput", throughput, ()),
        ("training", training, TRAINING),
    ):
        if set(needs) & absent:
            report.left_out(piece, f"missing: {', '.join(sorted(set(needs) & absent))}")
            continue
        work(options, report, deadline)
    report.write()
    print((options.out / "report.md").read_text(encoding="utf-8"))
    return 1 if report.wrong() else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--out", type=Path, default=Path("gpu_quarter"))
    parser.add_argument("--data", type=Path, help="parquet file or folder of the training images")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    return parser.parse_args()


class Report:
    """What is known so far; written after each row."""

    def __init__(self, folder: Path, machine: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "report.json"
        self.rows: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        if (before := self.rows.get("machine")) not in (None, machine):
            raise SystemExit(f"{folder} holds the results of {before}, not of {machine}: name another --out")
        self.rows["machine"] = machine
        self.rows["left_out"] = {}

    def has(self, piece: str, key: str) -> bool:
        """Whether an earlier call did this."""
        return key in self.rows.get(piece, {})

    def add(self, piece: str, key: str, row: dict[str, Any]) -> None:
        """Store a row."""
        self.rows.setdefault(piece, {})[key] = row
        print(f"{piece} {key}: {json.dumps(row)}", flush=True)
        self.write()

    def left_out(self, piece: str, reason: str) -> None:
        """Store what was not done, and why."""
        self.rows["left_out"][piece] = reason
        print(f"{piece} left out: {reason}", flush=True)
        self.write()

    def wrong(self) -> list[str]:
        """What did not hold."""
        rows = self.rows.get("methods", {})
        failed = [f"method {key}" for key, row in rows.items() if not row.get("right")]
        failed += [
            f"{p} {key}" for p in ("throughput", "training") for key, r in self.rows.get(p, {}).items() if "error" in r
        ]
        return failed + [f"{piece} left out" for piece in self.rows["left_out"]]

    def write(self) -> None:
        """Write both files."""
        self._file.write_text(json.dumps(self.rows, indent=2) + "\n", encoding="utf-8")
        self._file.with_suffix(".md").write_text("\n".join(self._lines()) + "\n", encoding="utf-8")

    def _lines(self) -> list[str]:
        machine = self.rows["machine"]
        lines = [f"# A quarter of an hour on {machine['device']}", "", f"torch {machine['torch']}", ""]
        for piece in ("methods", "throughput", "training"):
            rows = self.rows.get(piece, {})
            if not rows:
                continue
            columns = list(dict.fromkeys(key for row in rows.values() for key in row))
            lines += [f"## {piece}", "", "| | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]
            lines += [
                "| " + " | ".join([key, *(_text(row.get(c)) for c in columns)]) + " |" for key, row in rows.items()
            ]
            lines.append("")
        return [*lines, f"Wrong: {', '.join(self.wrong()) or 'nothing'}"]


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def methods(options: argparse.Namespace, report: Report, deadline: float) -> None:
    """Three steps of every method, here and on the CPU."""
    import torch

    from tests.helpers.train import METHODS, config_of, make_pictures

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    names = ["rob_dino", "seed", "sslight_moco"] if options.small else list(METHODS)
    with tempfile.TemporaryDirectory() as scratch:
        world = make_pictures(Path(scratch) / "world")
        for name in names:
            if report.has("methods", name):
                continue

            def losses(device: str, precision: str, name: str = name) -> list[float]:
                # Random choices inside a network are not the same on two kinds of device.
                words = (
                    f"device={device}",
                    f"precision={precision}",
                    "monitor_epochs=0",
                    "patch_drop=0",
                    "drop_path=0",
                )
                folder = Path(tempfile.mkdtemp(dir=scratch)) / "run"
                return some_losses(config_of(name, world, *words), world, folder)

            try:
                here, there, half = (
                    losses("cpu", "fp32"),
                    losses(options.device, "fp32"),
                    losses(options.device, "bf16"),
                )
                error = max(abs(a - b) / max(1e-6, abs(a)) for a, b in zip(here, there, strict=True))
                right = error <= TOLERANCE and all(map(math.isfinite, half))
                row = {"right": right, "error": error, "cpu": here[-1], "device": there[-1], "bf16": half[-1]}
                report.add("methods", name, row)
            except Exception as failure:  # One method that fails must not cost the others.
                traceback.print_exc()
                report.add("methods", name, {"right": False, "failure": f"{type(failure).__name__}: {failure}"})


def some_losses(config: Any, world: Path, folder: Path) -> list[float]:
    from lowzoo.data.source import open_source
    from lowzoo.train.monitoring.progress import StepClock
    from lowzoo.train.runs.loop import Run

    run = Run(config, open_source(world), None, folder)
    steps = run.steps(StepClock(run.device))
    found = [float(next(steps)) for _ in range(STEPS)]
    steps.close()
    return found


def throughput(options: argparse.Namespace, report: Report, deadline: float) -> None:
    """Steps of RoB on views that are there."""
    import torch

    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = True
    if not report.has("throughput", "matmul"):
        report.add("throughput", "matmul", {"tflops": matmul_peak(device, 256 if options.small else 8192)})
    peak = report.rows["throughput"]["matmul"]["tflops"]
    students = ("test_vit",) if options.small else ("vit_tiny_patch16_224", "mobilenetv3_large_100")
    teachers = ("test_vit",) if options.small else ("vit_small_patch16_224", "vit_base_patch16_224")
    compiled = (False,) if options.small or device.type != "cuda" else (False, True)
    for compile_ in compiled:
        for student in students:
            for teacher in teachers:
                for cached in (False, True):
                    key = f"{student} from {teacher}{', cached' * cached}{', compiled' * compile_}"
                    if report.has("throughput", key):
                        continue
                    if time.monotonic() > deadline - (0 if options.small else 240):
                        report.left_out(f"throughput {key}", "no time")
                        continue
                    try:
                        row = one_speed(student, teacher, device, cached=cached, compile_=compile_, small=options.small)
                        row["of_peak"] = round(row["tflops"] / peak, 3)
                        report.add("throughput", key, row)
                    except Exception as failure:
                        traceback.print_exc()
                        report.add("throughput", key, {"error": f"{type(failure).__name__}: {failure}"})


def matmul_peak(device: Any, side: int) -> float:
    """Measured bf16 matmuls, in TFLOPS."""
    import torch

    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = timed(lambda: a @ a, device, 10)
    return 2 * side**3 / seconds / 1e12


def timed(work: Callable[[], Any], device: Any, times: int) -> float:
    """Median seconds of a call, after a warm-up."""
    import torch

    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    work(), work(), wait()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def one_speed(student: str, teacher: str, device: Any, *, cached: bool, compile_: bool, small: bool) -> dict[str, Any]:
    """Images/s of whole steps, their arithmetic and memory."""
    import torch

    from lowzoo.system.device_trace import DeviceTrace

    images, side, local = (4, 32, 16) if small else (256, 224, 96)
    step, _ = make_step(student, teacher, device, images, side, local, cached=cached, compile_=compile_)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(step, device, 3 if small else 10)
    row: dict[str, Any] = {"images_per_s": round(images / seconds, 1), "step_ms": round(1000 * seconds, 2)}
    if device.type == "cuda":
        row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    del step
    with DeviceTrace() as trace:
        step, hold = make_step(
            student, teacher, torch.device("cuda"), images, side, local, cached=cached, compile_=False
        )
        trace.hold(hold)
        step()
        trace.reset()
        step()
    row |= {"traced_gb": round(trace.peak / 1e9, 3), "tflops": round(trace.flops / seconds / 1e12, 3)}
    row["waits"] = len(trace.waits)
    return row


def make_step(
    student: str,
    teacher: str,
    device: Any,
    images: int,
    side: int,
    local: int,
    *,
    cached: bool,
    compile_: bool,
    locals_: int = 8,
) -> tuple[Callable[[], Any], Any]:
    """A whole step of RoB-DINO on random views: teacher or its bottleneck, student, loss, optimiser."""
    import timm
    import torch

    from lowzoo.train.heads import HeadSpec
    from lowzoo.train.monitoring.progress import StepClock
    from lowzoo.train.networks.encoder import create_student
    from lowzoo.train.networks.step import StepContext, Views
    from lowzoo.train.optim.updates import Updates
    from lowzoo.train.runs.build import build_method
    from lowzoo.train.settings.config import resolve
    from lowzoo.train.settings.length import Length
    from lowzoo.train.teacher_cache.frozen import FrozenTeacher
    from lowzoo.train.teachers import Teacher, TeacherFacts

    outputs = 64 if side < 100 else 65536
    whole = f'{{name="global",count=2,size={side},scale=[0.4,1.0]}}'
    views = f'views=[{whole},{{name="local",count={locals_},size={local},scale=[0.1,0.4]}}]'
    config = resolve("rob_dino", settings=[f"student={student}", f"batch_size={images}", views, "epochs=2"])
    sized = {"img_size": side} if "vit" in teacher else {}
    backbone = timm.create_model(teacher, num_classes=0, **sized)
    head = HeadSpec(kind="dino").build(backbone.num_features, outputs)
    facts = TeacherFacts(teacher, teacher, "random", "none", "", prototypes=outputs)
    frozen = FrozenTeacher(Teacher(backbone, head, facts).to(device))
    autocast = lambda: torch.autocast(device.type, torch.bfloat16)  # noqa: E731
    method = build_method(config, create_student(config), frozen, device)
    if compile_:
        method.wrap(lambda network: torch.compile(network, dynamic=False))
    length = Length.known(1000, 100)
    updates = Updates(config, method.student, length, device, "bf16")
    groups = [
        torch.randn(2, images, 3, side, side, device=device),
        torch.randn(locals_, images, 3, local, local, device=device),
    ]
    batch = Views(groups, 0, torch.arange(images))
    now = StepContext(1, 0.1, StepClock(device), autocast)
    if cached:
        bottleneck = torch.randn(2, images, frozen.width, device=device)
        frozen._compute = lambda *_: bottleneck  # type: ignore[method-assign]
    method.train()

    def step() -> None:
        method.before_step(now)
        updates.backward(method.loss(batch, now))
        updates.apply(method, now)
        method.after_step(now)
        now.clock.pause()

    return step, method.student


def training(options: argparse.Namespace, report: Report, deadline: float) -> None:
    """A teacher and three students, sized to what is left."""
    import lowzoo.train as train

    if options.small:
        from tests.helpers.train import make_pictures

        data = options.out / "pictures"
        if not data.exists():
            make_pictures(data, 48)
        teacher, student, cnn = "test_vit", "test_vit", "test_vit"
    elif options.data is None:
        report.left_out("training", "no --data was named")
        return
    else:
        data, teacher, student, cnn = options.data, "vit_small_patch8_224", "resnet18", "mobilenetv3_large_100"
    runs = options.out / "runs"
    common = {"device": options.device, "settings": {"log": []}}
    words: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "teacher": (train.sslight, {"student": teacher, "method": "dino"}),
        "rob": (train.rob, {"student": student, "teacher": runs / "teacher"}),
        "seed": (train.seed, {"student": cnn, "teacher": runs / "teacher", "teacher_head": "own"}),
        "sslight": (train.sslight, {"student": cnn}),
    }
    for name, (function, arguments) in words.items():
        if report.has("training", name) and "error" not in report.rows["training"][name]:
            continue
        left = (deadline - time.monotonic()) / 60
        minutes = left * SHARES[name]
        if not options.small and minutes < 0.5:
            report.left_out(f"training {name}", f"{max(0, left):.1f} minutes are left")
            continue
        length = {"steps": 6, "batch_size": 8} if options.small else {"minutes": round(minutes, 2)}
        out = runs / name
        try:
            result = function(
                data, out=out, resume=(out / "config.toml").exists(), progress=print, **length, **common, **arguments
            )
            row = {
                "steps": result.steps,
                "figures": json.dumps(figures(out)),
                "files": len(halves(out, options.out, name)),
            }
            report.add("training", name, row)
        except Exception as failure:
            traceback.print_exc()
            report.add("training", name, {"error": f"{type(failure).__name__}: {failure}"})


def figures(run: Path) -> dict[str, Any]:
    """What the run measured last, and the mean share of its time that waited for data."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    found: dict[str, Any] = {}
    for row in rows:
        found |= {
            key: row[key] for key in ("knn", "own_view", "teacher_neighbours", "loss", "images_per_s") if key in row
        }
    waits = [row["data_wait"] for row in rows if "data_wait" in row]
    return found | {"data_wait": round(sum(waits) / len(waits), 4) if waits else None}


def halves(run: Path, folder: Path, name: str) -> list[Path]:
    """The student's weights in fp16, in files that stay small."""
    import torch
    from safetensors.torch import load_file, save_file

    parts: list[dict[str, Any]] = [{}]
    size = 0
    for key, value in load_file(run / "model.safetensors").items():
        half = value.to(torch.float16) if value.is_floating_point() else value
        size += half.numel() * half.element_size()
        if size > FILE_BYTES and parts[-1]:
            parts.append({})
            size = half.numel() * half.element_size()
        parts[-1][key] = half.contiguous()
    files = [folder / f"{name}.{number}.fp16.safetensors" for number in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        save_file(part, file)
    return files


if __name__ == "__main__":
    sys.exit(main())
