"""Two processes make one evaluation: the document of one process, one cache, one output; a failure ends both."""

import contextlib
import dataclasses
import io
import json
import os
import signal
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError, ToldElsewhere
from lowzoo.evaluate.knn_protocol import knn_preset, open_train_test, score_knn
from lowzoo.evaluate.linear_probe import evaluate_linear
from lowzoo.evaluate.probes.settings import PROBES, ProbeSettings
from lowzoo.features.extraction import Extraction
from lowzoo.system.processes import joined
from lowzoo.zoo.resolve import load_model
from tests.helpers.cli import exit_status
from tests.helpers.evaluate import write_network, write_pictures
from tests.helpers.forked_processes import run_to_the_end, start_processes

SWEEP = dataclasses.replace(PROBES["sweep"]["cnn"], weight_decays=(1e-4, 1e-2))
TRAINED = ProbeSettings(features=("own", "pooled"), learning_rates=(0.1, 0.3), epochs=3, batch_size=48)
CACHED = dataclasses.replace(TRAINED, augmentation="none", norm="standardise")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_pictures(folder / "d", {"train": 70, "val": 30}, noise=60)
    write_network(folder / "net")
    return folder


def _how() -> Extraction:
    return Extraction(progress=False, among=joined())


def _evaluate(world: Path, out: Path, what: str) -> None:
    os.environ["LOWZOO_CACHE"] = str(out / "cache")
    resolved, data = load_model(f"local-dir:{world / 'net'}"), open_train_test(str(world / "d"))
    if what == "knn":
        scored = score_knn(resolved, data, preset=knn_preset("dino"), how=_how())
    else:
        settings = {"sweep": SWEEP, "trained": TRAINED, "cached": CACHED}[what]
        scored = evaluate_linear(resolved, data, settings, repeats=1 if what == "sweep" else 3, how=_how())
    found = {"document": scored.result.model_dump(mode="json"), "predictions": scored.predictions.tolist()}
    (out / f"{joined().rank}.json").write_text(json.dumps(found))


def _both(world: Path, tmp_path: Path, what: str) -> tuple[dict, list[dict]]:
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        run_to_the_end(count, _evaluate, world, tmp_path / str(count), what)
    (one,), two = (
        [json.loads((tmp_path / str(count) / f"{rank}.json").read_text()) for rank in range(count)] for count in (1, 2)
    )
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("what", ["knn", "sweep", "cached"])
def test_two_processes_write_the_document_of_one_to_the_last_digit(what: str, world: Path, tmp_path: Path) -> None:
    one, two = _both(world, tmp_path, what)
    assert two == [one, one]
    names = [sorted(file.name for file in (tmp_path / count / "cache" / "features").iterdir()) for count in "12"]
    assert names[0] == names[1]
    assert len(names[0]) == 2
    for name in names[0]:
        whole, divided = ((tmp_path / count / "cache" / "features" / name).read_bytes() for count in "12")
        assert whole == divided


@pytest.mark.slow
def test_probes_on_augmented_images_differ_by_no_more_than_rounding(world: Path, tmp_path: Path) -> None:
    one, two = _both(world, tmp_path, "trained")
    assert two[0] == two[1]
    before, after = one["document"], two[0]["document"]
    assert after["settings"]["chosen"] == before["settings"]["chosen"]
    assert len(before["settings"]["tried"]) == 4
    for mine, theirs in zip(before["settings"]["tried"], after["settings"]["tried"], strict=True):
        assert theirs["held_out_loss"] == pytest.approx(mine["held_out_loss"], rel=1e-3)
    assert after["figures"][0]["mean"] == pytest.approx(before["figures"][0]["mean"], abs=1.2)  # one image of 90


def _fail(world: Path, out: Path) -> None:
    os.environ["LOWZOO_CACHE"] = str(out / "cache")
    resolved, data = load_model(f"local-dir:{world / 'net'}"), open_train_test(str(world / "d"))
    try:
        score_knn(resolved, data, preset=knn_preset("dino"), how=_how())
    except LowzooError as error:
        words = f"{type(error).__name__}: {error}"
        (out / f"{joined().rank}.txt").write_text(words)
        raise SystemExit(2) from None


def _words(out: Path) -> list[str]:
    return [file.read_text() for file in sorted(out.glob("*.txt"))]


@pytest.mark.slow
def test_what_is_wrong_in_one_part_is_printed_once_and_ends_all(tmp_path: Path) -> None:
    write_network(tmp_path / "net")
    write_pictures(tmp_path / "d", {"train": 70, "val": 30})
    for file in sorted((tmp_path / "d" / "train" / "red").glob("*.png"))[:40]:  # in the part of the second process
        file.write_bytes(file.read_bytes()[:60])
    processes = start_processes(2, _fail, tmp_path, tmp_path)
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [2, 2]
    first, second = _words(tmp_path)
    assert first.startswith("LowzooError: 40 of 210 images")
    assert second.startswith(ToldElsewhere.__name__)
    assert not list((tmp_path / "cache" / "features").iterdir())


def _differ(world: Path, out: Path, what: str) -> None:
    os.environ["LOWZOO_CACHE"] = str(out / "cache")
    resolved = load_model(f"local-dir:{world / 'net'}")
    second = joined().rank == 1
    data = open_train_test(str(world / ("fewer" if second and what == "images" else "d")))
    if second and what == "weights":
        next(resolved.model.parameters()).data[0] += 1e-3
    try:
        score_knn(resolved, data, preset=knn_preset("dino"), how=_how())
    except LowzooError as error:
        (out / f"{joined().rank}.txt").write_text(str(error))


@pytest.mark.slow
@pytest.mark.parametrize(("what", "said"), [("images", ("210 with", "180 with")), ("weights", ("weights (",))])
def test_processes_with_other_images_or_weights_are_refused(
    what: str, said: tuple[str, ...], world: Path, tmp_path: Path
) -> None:
    if not (world / "fewer").exists():
        write_pictures(world / "fewer", {"train": 60, "val": 30}, noise=60)
    run_to_the_end(2, _differ, world, tmp_path, what)
    first, second = _words(tmp_path)
    assert first == second
    assert first.startswith(f"the 2 processes have different {what}")
    assert all(word in first for word in said)
    assert not list((tmp_path / "cache" / "features").glob("*"))


def _from_python(world: Path, out: Path) -> None:
    import lowzoo

    os.environ["LOWZOO_CACHE"] = str(out / "cache")
    rank, given = joined().rank, {"data": world / "d"}
    model = f"local-dir:{world / 'net'}"
    if rank == 1:  # the other one does not call, and this one is not the first
        lowzoo.evaluate.knn(model, **given, out=out / "alone.json")
        assert len(lowzoo.embed(world / "d", model=model)) == 210
    lowzoo.evaluate.knn(model, **given, out=out / f"{rank}.json", divide=True)


@pytest.mark.slow
def test_calls_in_python_divide_where_they_say_so(world: Path, tmp_path: Path) -> None:
    run_to_the_end(2, _from_python, world, tmp_path)
    alone, divided = (json.loads((tmp_path / name).read_text()) for name in ("alone.json", "0.json"))
    assert divided["figures"] == alone["figures"]
    assert not (tmp_path / "1.json").exists()


def _die(world: Path, out: Path) -> None:
    if joined().rank == 1:
        import lowzoo.features.features as features

        def killed(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        features.normalise_batch = killed
    _fail(world, out)


def test_a_process_that_dies_ends_the_others_with_a_line(world: Path, tmp_path: Path) -> None:
    processes = start_processes(2, _die, world, tmp_path)
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [2, -signal.SIGKILL]
    (said,) = _words(tmp_path)
    assert said.startswith("LowzooError: another process of this command has ended")
    assert "\n" not in said


def _refused(world: Path, out: Path) -> None:
    words = ["eval", "finetune", f"local-dir:{world / 'net'}", "--data", str(world / "d"), "--share", "0.5"]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert exit_status(words) == 2
    (out / f"{joined().rank}.txt").write_text(said.getvalue())


def test_a_protocol_that_cannot_be_divided_says_so(world: Path, tmp_path: Path) -> None:
    run_to_the_end(2, _refused, world, tmp_path)
    assert all(said.startswith("lowzoo: error: eval finetune runs in one process") for said in _words(tmp_path))
    assert len(_words(tmp_path)) == 2
