"""Low-shot: the solver's settings, the choice of the penalty, and the protocol end to end."""

import dataclasses

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.knn_protocol import open_train_test
from lowzoo.features.extraction import Extraction
from tests.helpers.evaluate import pixel_network, write_pictures

pytest.importorskip("sklearn")

from lowzoo.evaluate.few_labels import draw_tasks, evaluate_lowshot, logistic_settings
from lowzoo.evaluate.probes.logistic import LOGISTIC, choose, classify, scaled

HOW = Extraction(progress=False)


@pytest.fixture
def data(tmp_path):
    return open_train_test(str(write_pictures(tmp_path / "d", {"train": 20, "val": 10})))


def blobs(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    return np.random.default_rng(9).normal(size=(5, 8))[labels] + rng.normal(size=(count, 8)), labels


def test_scaling():
    x, _ = blobs(50, 0)
    train, test = scaled(x, x + 1, LOGISTIC["rob"])
    np.testing.assert_allclose(train.std(axis=0), 1)
    np.testing.assert_allclose(test - train, np.tile(1 / x.std(axis=0), (50, 1)))
    unit, _ = scaled(x, x, LOGISTIC["msn"])
    np.testing.assert_allclose(unit.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1)


def test_penalties_are_scikit_learns():
    assert LOGISTIC["rob"].penalty(0.1, 1000) == 10_000
    assert LOGISTIC["msn"].penalty(0.0025, 1000) == 400


@pytest.mark.parametrize("name", ["rob", "msn"])
def test_predictions_minimise_the_stated_objective(name):
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    settings = dataclasses.replace(LOGISTIC[name], max_iter=5000)
    (x, labels), (test, _) = blobs(60, 1), blobs(40, 2)
    strength = 5.0
    found, converged = classify(x, labels, test, settings, strength)
    assert converged
    train_x, test_x = scaled(x, test, settings)
    if settings.intercept:
        train_x, test_x = (np.hstack([part, np.ones((len(part), 1))]) for part in (train_x, test_x))

    def objective(flat):
        weights = flat.reshape(5, -1)
        logits = train_x @ weights.T
        loss = (logsumexp(logits, axis=1) - logits[np.arange(60), labels]).sum()
        return settings.penalty(strength, 60) * loss + 0.5 * (weights[:, :8] ** 2).sum()

    best = minimize(
        objective, np.zeros(5 * train_x.shape[1]), method="L-BFGS-B", options={"maxiter": 3000, "maxfun": 10**6}
    )
    agreement = (np.argmax(test_x @ best.x.reshape(5, -1).T, axis=1) == found).mean()
    assert agreement >= 0.975


def test_the_penalty_is_chosen_on_training_images():
    x, labels = blobs(100, 3)
    strength, tried = choose(x, labels, LOGISTIC["rob"], seed=0)
    assert len(tried) == 4
    assert tried[LOGISTIC["rob"].strengths.index(strength)] == max(tried)
    one_each = [int(np.flatnonzero(labels == label)[0]) for label in range(5)]
    assert choose(x[one_each], labels[one_each], LOGISTIC["rob"], seed=0) == (0.1, [])


def test_end_to_end(data):
    tasks = draw_tasks(data, counts=(1, 5), share=0.5)
    result = evaluate_lowshot(pixel_network(), data, tasks, LOGISTIC["rob"], preset="rob", how=HOW)
    names = [figure.metric for figure in result.figures]
    assert names == ["lowshot_top1_1shot", "lowshot_top1_5shot", "lowshot_top1_50percent"]
    assert [figure.seeds for figure in result.figures] == [3, 3, 3]
    assert result.figures[2].mean > 75
    assert result.figures[0].std is not None
    assert result.settings["tasks"]["5shot"]["images"] == [15, 15, 15]
    assert "scikit-learn" in result.versions
    again = evaluate_lowshot(pixel_network(), data, tasks, LOGISTIC["rob"], preset="rob", how=HOW)
    assert again.to_json() == result.to_json()
    other = draw_tasks(data, counts=(5,), share=None, seed=100)
    moved = evaluate_lowshot(pixel_network(), data, other, LOGISTIC["rob"], how=HOW).figures[0]
    assert abs(moved.mean - result.figures[1].mean) < 20


def test_a_published_list(data, tmp_path):
    (tmp_path / "1imgs_class.txt").write_text("red3.png\ngreen7.png\nblue1.png\n")
    tasks = draw_tasks(data, lists=[tmp_path / "1imgs_class.txt"])
    result = evaluate_lowshot(pixel_network(), data, tasks, LOGISTIC["msn"], how=HOW)
    assert result.data["train"].images == 3
    assert (result.figures[0].metric, result.figures[0].seeds) == ("lowshot_top1_listed", 1)


def test_a_drawn_image_that_cannot_be_read(data, tmp_path):
    (tmp_path / "d" / "train" / "red" / "red0.png").write_text("words")
    tasks = draw_tasks(data, counts=(20,), share=None, splits=1)
    result = evaluate_lowshot(pixel_network(), data, tasks, LOGISTIC["msn"], how=HOW)
    assert (result.data["train"].images, result.data["train"].skipped) == (59, 1)


def test_refusals(data):
    with pytest.raises(LowzooError, match="21 images of each class are wanted, and the smallest class has 20"):
        draw_tasks(data, counts=(21,))
    with pytest.raises(LowzooError, match="Choose of: rob, msn"):
        logistic_settings("dino")
