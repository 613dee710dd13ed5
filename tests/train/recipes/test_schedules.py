"""Schedules: where they begin, turn and end, in every form and of either update."""

import numpy as np
import pytest

from lowzoo.train.recipes.schedules import Form, cosine, milestones, progress, teacher_temperature, warmup_cosine

FORMS: tuple[Form, ...] = ("cosine", "vissl", "sslight")


def test_cosine_runs_from_start_to_end_and_is_halfway_in_the_middle() -> None:
    values = cosine(np.array([0.0, 0.5, 1.0]), 0.04, 0.4)
    np.testing.assert_allclose(values, [0.04, 0.22, 0.4])


@pytest.mark.parametrize("form", FORMS)
def test_warmup_rises_linearly_then_falls(form: Form) -> None:
    values = warmup_cosine(progress(10, 20, "step"), start=0.1, peak=1.0, end=0.01, warmup=0.2, form=form)
    assert values.shape == (200,)
    rising, falling = values[:40], values[40:]
    assert values[0] == pytest.approx(0.1)
    np.testing.assert_allclose(np.diff(rising), np.diff(rising)[0])
    assert (np.diff(rising) > 0).all()
    assert (np.diff(falling) < 0).all()
    assert 0.01 < values[-1] < 0.011


def test_forms_differ_in_where_the_peak_is() -> None:
    where = progress(10, 20, "step")
    values = {form: warmup_cosine(where, start=0.0, peak=1.0, end=0.0, warmup=0.1, form=form) for form in FORMS}
    assert np.flatnonzero(values["cosine"] == 1).tolist() == [20]
    assert np.flatnonzero(values["sslight"] == 1).tolist() == [19, 20]
    # The cosine of a tenth of the whole run, not of its own beginning.
    assert values["vissl"].max() == values["vissl"][20] == pytest.approx((1 + np.cos(0.1 * np.pi)) / 2)


@pytest.mark.parametrize("form", FORMS)
def test_without_warmup_all_forms_are_the_cosine(form: Form) -> None:
    where = progress(4, 5, "step")
    values = warmup_cosine(where, start=0.5, peak=1.0, end=0.2, warmup=0.0, form=form)
    np.testing.assert_array_equal(values, cosine(where, 1.0, 0.2))


@pytest.mark.parametrize("form", FORMS)
def test_update_per_epoch_holds_the_value_and_is_the_schedule_of_as_many_steps(form: Form) -> None:
    arguments = {"start": 0.1, "peak": 1.0, "end": 0.0, "warmup": 0.2, "form": form}
    by_epoch = warmup_cosine(progress(10, 7, "epoch"), **arguments).reshape(10, 7)
    assert (by_epoch == by_epoch[:, :1]).all()
    np.testing.assert_array_equal(by_epoch[:, 0], warmup_cosine(progress(10, 1, "step"), **arguments))


def test_seeds_warmup_at_the_reference_batch_is_flat() -> None:
    """At B = 256 SEED's rate warms up from 0.03 to 0.03, and its cosine is the one of the whole run."""
    values = warmup_cosine(progress(200, 1, "epoch"), start=0.03, peak=0.03, end=0.0, warmup=5 / 200, form="vissl")
    np.testing.assert_allclose(values[:5], 0.03)
    np.testing.assert_allclose(values[5:], cosine(np.arange(5, 200) / 200, 0.03, 0.0))


def test_milestones_apply_from_their_own_epoch_on() -> None:
    where = progress(10, 3, "step")
    values = milestones(where, start=1.0, peak=1.0, at=[0.7, 0.3])
    np.testing.assert_allclose(values, [1.0] * 9 + [0.1] * 12 + [0.01] * 9)
    warm = milestones(where, start=0.0, peak=1.0, at=[0.7, 0.3], warmup=0.2)
    np.testing.assert_allclose(warm[:6], np.arange(6) / 6, atol=1e-12)
    np.testing.assert_array_equal(warm[6:], values[6:])


def test_teacher_temperature_has_its_end_in_the_last_epoch_of_the_warmup() -> None:
    found = [teacher_temperature(epoch, 20, start=0.04, end=0.07, warmup=0.2) for epoch in range(20)]
    np.testing.assert_allclose(found, [0.04, 0.05, 0.06] + [0.07] * 17)
    assert [teacher_temperature(epoch, 4, start=0.04, end=0.07, warmup=0.0) for epoch in range(2)] == [0.07, 0.07]
    assert [teacher_temperature(epoch, 4, start=0.04, end=0.07, warmup=0.25) for epoch in range(2)] == [0.04, 0.07]
