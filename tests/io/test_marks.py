"""Every PNG that lowzoo draws is recognised by its first bytes, so that none is taken for a user's picture."""

import pytest
import torch
from PIL import Image

from lowzoo.bench.results.assemble import to_document
from lowzoo.bench.results.report import read_groups
from lowzoo.cards import listing
from lowzoo.data.source import open_source
from lowzoo.evaluate import confusion
from lowzoo.evaluate.contact_sheet import draw_neighbours
from lowzoo.features.features import Features
from lowzoo.inspect.inspection import inspect
from lowzoo.inspect.sheet import draw_sheet
from lowzoo.inspect.shown import choose
from lowzoo.io.marks import HEAD_BYTES, is_own_png, save_png
from tests.helpers.bench import made_result


def draw_contact_sheet(path):
    # `lowzoo embed --sheet` and `lowzoo quickstart` draw by this function.
    source = open_source(None, "validation")
    labels = torch.from_numpy(source.labels[:30])
    features = Features(torch.eye(30), labels, torch.arange(30), 0)
    draw_neighbours(source, features, source, features, path, title="t")


def draw_confusion(path):
    confusion.draw(torch.tensor([0, 1]), torch.tensor([0, 0]), None, path, title="t")


def draw_report_figure(path):
    from lowzoo.bench.results.report_figure import write_png

    results = path.with_suffix(".json")
    results.write_text(to_document([made_result()]))
    write_png(read_groups([results]), path)


def draw_models(path):
    from lowzoo.cards.plot_models import plot_models

    plot_models(listing.rows(), path)


def draw_run_curves(path):
    from lowzoo.train.monitoring.curves import draw_curves

    draw_curves([{"step": 1, "loss": 2.0, "lr": 0.1, "images_per_s": 3.0}], path, "t")


def draw_data_sheet(path):
    draw_sheet(choose(inspect(None, model=None, splits=["validation"], progress=False), progress=False), path)


def draw_plainly(path):
    save_png(Image.new("P", (3, 2)), path)


@pytest.mark.parametrize(
    "draw",
    [
        draw_contact_sheet,
        draw_confusion,
        draw_report_figure,
        draw_models,
        draw_run_curves,
        draw_data_sheet,
        draw_plainly,
    ],
)
def test_a_drawn_png_is_recognised(draw, tmp_path):
    if draw in (draw_report_figure, draw_models, draw_run_curves):
        pytest.importorskip("matplotlib")
    path = tmp_path / "drawn.png"
    draw(path)
    assert is_own_png(path.read_bytes()[:HEAD_BYTES])
    with Image.open(path) as opened:
        opened.load()
        assert opened.text["Software"].startswith("lowzoo")


def test_pictures_of_others_are_not(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "theirs.png")
    assert not is_own_png((tmp_path / "theirs.png").read_bytes()[:HEAD_BYTES])
