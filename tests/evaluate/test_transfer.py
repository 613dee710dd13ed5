"""The transfer table: its settings, and `lowzoo eval transfer --all` over five small sets."""

import json

import pytest
import timm

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.transfer_tasks import TASKS, chosen_tasks, open_task, transfer_settings
from tests.helpers import transfer as write
from tests.helpers.cli import runner

pytestmark = pytest.mark.usefixtures("few_records")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "sets"
    write.cifar100(folder, "binary")
    write.inaturalist18(folder / "inaturalist18")
    write.places205(folder / "places205", "data/vision/torralba/deeplearning/images256")
    write.clevr(folder / "CLEVR_v1.0")
    return folder


run = runner("eval", "transfer")


def test_the_table_of_the_publication():
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    cnn = timm.create_model("resnet18", num_classes=0)
    inat = transfer_settings(TASKS["inaturalist18"], vit)
    assert (inat.epochs, inat.milestones, inat.augmentation, inat.features) == (
        84,
        (24, 48, 72),
        "crop",
        ("cls", "cls4"),
    )
    assert (inat.learning_rates, inat.weight_decays, inat.batch_size, inat.norm) == ((0.01,), (5e-4,), 256, "batch")
    cifar = transfer_settings(TASKS["cifar100"], cnn)
    assert (cifar.augmentation, cifar.squash, cifar.features) == ("flip", True, ("pooled", "pool2x1"))
    assert transfer_settings(TASKS["cifar100"], vit).augmentation == "crop"
    dist = transfer_settings(TASKS["clevr_dist"], vit)
    assert (dist.epochs, dist.milestones, dist.squash) == (100, (), True)
    factor, addend = dist.rate_factor(100)
    assert 0.01 * factor + addend == pytest.approx(1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--cached", "--augment"])
def test_all_tasks_end_to_end(capsys, root, model, how, tmp_path):
    out = tmp_path / "transfer.json"
    words = ("--root", root, "--all", how, "--epochs", 2, "--batch-size", 32, "--out", out)
    code, text, errors = run(capsys, model, *words)
    assert code == 0, errors
    document = json.loads(out.read_text())
    names = [figure["metric"] for figure in document["figures"]]
    assert names == [*(f"{task}_top1" for task in TASKS), "mean_of_tasks"]
    assert document["figures"][-1]["mean"] == pytest.approx(
        sum(figure["mean"] for figure in document["figures"][:-1]) / 5, abs=1e-3
    )
    assert document["data"]["clevr_count train"]["images"] == 12
    assert document["settings"]["tasks"]["clevr_dist"]["preprocessing"]["crop_mode"] == "squash"
    assert document["settings"]["tasks"]["cifar100"]["augmentation"] == ("none" if how == "--cached" else "flip")
    assert "mean_of_tasks" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--root", "{root}"], "no transfer task is named. Name some of inaturalist18"),
        (["--task", "mnist", "--root", "{root}"], "there is no transfer task 'mnist'"),
        (["--task", "cifar100"], "the folder with the data sets is not named. Name it by --root"),
        (["--task", "cifar100", "--root", "{root}/nowhere"], "nowhere is no folder"),
        (["--all", "--data", "x"], "--data x holds one task's images, not those of 5"),
    ],
)
def test_refusals(capsys, root, words, message):
    code, _, errors = run(capsys, "resnet18", *(word.format(root=root) for word in words))
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1


def test_a_partial_download_is_told_by_file_name(capsys, root):
    (root / "CLEVR_v1.0" / "images" / "train" / "CLEVR_train_000003.png").unlink()
    code, _, errors = run(capsys, "resnet18", "--root", root, "--all")
    assert code == 2
    assert "1 of 12 images that CLEVR_train_scenes.json names are missing" in errors
    assert "CLEVR_train_000003.png" in errors


def test_another_source_for_one_task(tmp_path):
    for split in ("train", "test"):
        for number in range(2):
            for i in range(3):
                write.picture(tmp_path / "d" / split / f"c{number}" / f"{i}.png", number, i + 10 * (split == "test"))
    data = open_task("cifar100", None, str(tmp_path / "d"))
    assert (len(data.bank), data.queries.name) == (6, "d/test")


def test_tasks_by_name():
    assert chosen_tasks(["cifar100", "cifar100"], every=False) == ["cifar100"]
    assert chosen_tasks([], every=True) == list(TASKS)
    with pytest.raises(LowzooError, match="no transfer task"):
        chosen_tasks([], every=False)
