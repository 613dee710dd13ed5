"""The cards: made from the catalog, current in the repository, readable by the Hub's own reader."""

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from lowzoo import catalog
from lowzoo.cards import model_cards
from lowzoo.catalog import Metric

FOLDER = Path(__file__).parents[2] / "model_cards"


@pytest.mark.parametrize(("name", "text"), model_cards.render_cards().items(), ids=model_cards.render_cards())
def test_the_card_in_the_repository_is_current(name, text):
    assert (FOLDER / name).read_text(encoding="utf-8") == text, "run `lowzoo cards`"


def test_no_card_belongs_to_no_model():
    assert {path.name for path in FOLDER.glob("*.md")} == set(model_cards.render_cards())


def test_the_card_of_the_bundled_weights_says_what_they_are():
    entry = catalog.model("rob_vit_tiny")
    section = model_cards.render_card(entry).split("## mobilenetv2_sup_tin100")[1].split("\n## ")[0]
    for fact in (
        "`mobilenetv2_100`, supervised, ImageNet-1k",
        "**not label-free**",
        "fitted",
        "**Extension of the paper**",
        "Tiny ImageNet, 50,000 photographs (100 classes), at 128 px",
    ):
        assert fact in section


def test_the_head_is_read_by_the_hub():
    data = ModelCard(model_cards.render_card(catalog.model("rob_vit_tiny"))).data
    assert data.license == "apache-2.0"
    assert data.library_name == "timm"
    assert data.pipeline_tag == "image-feature-extraction"
    assert {"lowzoo", "rob"} <= set(data.tags)


def test_an_unpublished_model_promises_no_weights_licence_or_figures():
    text = model_cards.render_card(catalog.model("rob_resnet18"))
    assert "pretrained=True" not in text
    assert "license:" not in text
    assert "model-index" not in text
    assert "are not published" in text


def test_measured_figures_reach_the_table_and_the_model_index():
    entry = catalog.model("rob_vit_tiny")
    own = Metric("k-NN top-1", 12.5, "some images", "k = 20", "measured here", script="benchmarks/x.py", headline=True)
    teachers = replace(own, value=50.0, of="teacher", headline=False)
    weights = replace(entry.default, metrics=(own, teachers))
    text = model_cards.render_card(replace(entry, weights=(weights, *entry.weights[1:])))
    assert "| this model | k-NN top-1 | 12.5 % | some images | k = 20 | measured here, `benchmarks/x.py` |" in text
    assert "| teacher | k-NN top-1 | 50 % |" in text
    results = ModelCard(text).data.eval_results
    assert [(result.dataset_name, result.metric_value) for result in results] == [("some images", 12.5)]
