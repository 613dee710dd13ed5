"""The zoo as rows: which latency stands in a row, and that our own and other people's are never in one ranking."""

from dataclasses import replace

import pytest

from lowzoo import catalog
from lowzoo.cards import listing, model_cards
from lowzoo.cli import main as cli

MODEL = "sslight_dino_resnet18"


@pytest.fixture
def measured(monkeypatch):
    """The catalog with one latency of our own, beside the references on the same phone and on another."""
    own = replace(catalog.latencies()[0], architecture="resnet18", device="galaxy-s25", kind="measured", ms=9.0)
    rows = (*catalog.latencies(), own)
    monkeypatch.setattr(catalog, "latencies", lambda: rows)


def test_a_device_with_a_measurement_of_ours_shows_nothing_else(measured):
    found = {row.latency for row in listing.rows("galaxy-s25")} - {None}
    assert {(row.architecture, row.ms) for row in found} == {("resnet18", 9.0)}
    text = listing.table(listing.rows("galaxy-s25"), "galaxy-s25")
    assert "measured by `lowzoo bench`" in text
    others = {row.latency.architecture for row in listing.rows("galaxy-s24") if row.latency}
    assert len(others) > 3
    assert "published by others" in listing.table(listing.rows("galaxy-s24"), "galaxy-s24")


def test_measured_and_published_stand_apart_in_info_and_card(measured, capsys):
    with pytest.raises(SystemExit):
        cli.main(["info", MODEL])
    mine, _, others = capsys.readouterr().out.partition("Latency, published by others")
    card = model_cards.render_card(catalog.model(MODEL)).split("## Latency")[1].split("## Intended")[0]
    for own, rest in ((mine, others), card.split("References: published")):
        assert "9 ms" in own or "| 9 |" in own
        assert "0.618" not in own
        assert "0.618" in rest


def test_the_lowest_in_float_at_the_size_of_the_weights_is_taken():
    entry = catalog.model(MODEL)
    row = listing.latency_on(entry, entry.default, "galaxy-s25")
    assert (row.precision, row.ms) == ("float", 0.618)
    assert listing.latency_on(entry, replace(entry.default, input_size=(3, 96, 96)), "galaxy-s25") is None
