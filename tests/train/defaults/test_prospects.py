"""What is said before a run that nothing like it has learned in, from rows of one's own."""

from dataclasses import replace

import pytest

from lowzoo.catalog.learned import LearnedRow, learned
from lowzoo.train.defaults.prospects import caution, student_that_learns
from lowzoo.train.recipes.facts import Facts

VIT = LearnedRow("a", "drawings", 1000, "rob", "vit_tiny", "vit_tiny_patch16_224", "vit", 3, 30_000, 24.0, 25.0, 2.0)
CNN = replace(VIT, name="b", student="mobilenetv2", architecture="mobilenetv2_100", kind="cnn", after=34.0)
SLOW = replace(CNN, name="c", recipe="sslight", after=20.0)
LARGE = replace(VIT, name="d", images=5000, pictures="photographs", minutes=6, seen=60_000, after=35.0)
ROWS = (VIT, CNN, SLOW, LARGE)
FACTS = Facts("rob", images=1000, side=64, student="vit_tiny_patch16_224", gpu=False, drawings=True)


def said(facts: Facts = FACTS, minutes: float | None = 3, seen: float | None = None, init: str = "") -> str:
    return caution(facts, init=init, minutes=minutes, seen=seen, rows=ROWS)


def test_what_did_not_learn_is_told_with_its_figures_and_what_did() -> None:
    text = said()
    for words in (
        "3 minutes",
        "1,000 drawings",
        "24.0 -> 25.0",
        "rob on mobilenetv2 24.0 -> 34.0",
        "--init rob_vit_tiny",
    ):
        assert words in text
    assert "--student mobilenetv2" in text


def test_a_worse_end_is_told_too() -> None:
    facts = replace(FACTS, recipe="sslight", student="mobilenetv2_100")
    assert "24.0 -> 20.0" in said(facts)
    assert "--init MODEL" in said(facts)


@pytest.mark.parametrize("student", ["vit_small_patch16_224", "deit_tiny_patch16_224"])
def test_another_network_is_judged_by_those_of_its_kind(student: str) -> None:
    assert said(replace(FACTS, student=student))
    assert not said(replace(FACTS, student="resnet18"))


@pytest.mark.parametrize(
    ("minutes", "seen", "known"),
    [(3, None, True), (4.5, None, True), (5, None, False), (None, 45_000, True), (None, 46_000, False)],
)
def test_only_of_a_run_as_short(minutes: float | None, seen: float | None, known: bool) -> None:
    assert bool(said(minutes=minutes, seen=seen)) is known


@pytest.mark.parametrize(("images", "known"), [(12, True), (1000, True), (1001, False), (5000, False), (50_000, False)])
def test_images_are_compared_with_the_next_larger_set(images: int, known: bool) -> None:
    rows = (VIT, CNN, SLOW, replace(LARGE, pictures="drawings"))
    assert bool(caution(replace(FACTS, images=images), init="", minutes=3, seen=None, rows=rows)) is known


def test_photographs_are_not_judged_by_drawings() -> None:
    photographs = replace(FACTS, drawings=False)
    assert not said(photographs)
    assert student_that_learns(photographs, minutes=3, seen=None, rows=ROWS) is None
    unlearned = replace(VIT, name="e", pictures="photographs", images=600)
    assert "600 photographs" in caution(
        replace(photographs, images=600), init="", minutes=3, seen=None, rows=(CNN, unlearned)
    )


@pytest.mark.parametrize(
    ("minutes", "seen", "known"), [(1.9, None, True), (2, None, False), (None, 19_999, True), (None, 20_000, False)]
)
def test_a_run_far_shorter_than_one_that_learned_is_told_so(
    minutes: float | None, seen: float | None, known: bool
) -> None:
    photographs = replace(FACTS, drawings=False, images=5000)
    text = said(photographs, minutes, seen)
    assert ("rob on vit_tiny 24.0 -> 35.0 % k-NN took 6 minutes" in text) is known
    assert bool(text) is known
    assert student_that_learns(photographs, minutes=minutes, seen=seen, rows=ROWS) is None, "the student stays"


def test_more_images_than_were_ever_measured_are_no_help_in_a_short_run() -> None:
    facts = replace(FACTS, images=1_281_167, drawings=False)
    unlearned = replace(LARGE, after=24.5)
    assert caution(facts, init="", minutes=6, seen=None, rows=(VIT, unlearned))
    assert not caution(facts, init="", minutes=60, seen=None, rows=(VIT, unlearned))


def test_nothing_is_said_of_trained_weights_of_a_gpu_or_of_what_was_never_measured() -> None:
    assert not said(init="rob_vit_tiny")
    assert not said(replace(FACTS, gpu=True))
    assert not said(replace(FACTS, recipe="toy"))
    assert not caution(FACTS, init="", minutes=3, seen=None, rows=())


def test_the_student_that_learns_best_is_found_where_ones_own_does_not() -> None:
    assert student_that_learns(FACTS, minutes=3, seen=None, rows=ROWS) == CNN
    large = replace(FACTS, images=5000, drawings=False)
    assert student_that_learns(large, minutes=3, seen=None, rows=ROWS) is None
    assert student_that_learns(replace(FACTS, recipe="sslight"), minutes=3, seen=None, rows=ROWS) is None


def test_the_rows_of_the_package_are_whole() -> None:
    assert len({row.name for row in learned()}) == len(learned()) > 0
    assert all(row.before > 0 and row.after > 0 and row.error > 0 and row.seen > 0 for row in learned())
