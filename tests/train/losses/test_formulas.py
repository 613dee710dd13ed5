"""What the formulas of the objectives promise: identities between them, codes, queues and memory."""

import math
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.profiler import ProfilerActivity, profile

from lowzoo.base.errors import LowzooError
from lowzoo.train import losses
from lowzoo.train.losses.kd import distillation_loss
from lowzoo.train.losses.moco import MocoObjective
from lowzoo.train.losses.msn import msn_loss, msn_targets
from lowzoo.train.losses.pairs import (
    cross_view,
    grouped_cross_entropy,
    pair_cross_entropy,
    reference_cross_entropy,
    same_view_and_locals,
)
from lowzoo.train.losses.queue import KeyQueue
from lowzoo.train.losses.rob import TEACHER_TEMPERATURE, RobObjective
from lowzoo.train.losses.seed import SeedObjective, SmallPatchObjective, reference_loss
from lowzoo.train.losses.sinkhorn import sinkhorn


def test_distillation_loss_is_made_of_its_two_terms() -> None:
    student, teacher, labels = torch.randn(8, 10), torch.randn(8, 10), torch.arange(8)
    assert distillation_loss(student, teacher, labels, weight=0.0).item() == pytest.approx(
        cross_entropy(student, labels).item()
    )
    assert distillation_loss(teacher, teacher, labels, weight=1.0).item() == pytest.approx(0, abs=1e-4)
    hot, soft = (torch.log_softmax(x / 4.0, 1) for x in (teacher, student))
    divergence = (hot.exp() * (hot - soft)).sum(1).mean() * 16
    found = distillation_loss(student, teacher, labels, temperature=4.0, weight=1.0)
    assert found.item() == pytest.approx(divergence.item(), rel=1e-4)


@pytest.mark.parametrize("rule", [same_view_and_locals, cross_view])
@pytest.mark.parametrize(("global_views", "views", "terms"), [(2, 10, 18), (2, 12, 22), (2, 6, 10)])
def test_pairs_are_averaged_alike(
    rule: Callable[[int, int], Tensor], global_views: int, views: int, terms: int
) -> None:
    targets = torch.randn(global_views, 3, 7).softmax(-1)
    log_probs = torch.randn(views, 3, 7).log_softmax(-1)
    same = rule is same_view_and_locals
    each = [
        -(targets[i] * log_probs[v]).sum(-1).mean()
        for i in range(global_views)
        for v in range(views)
        if v >= global_views or (v == i) == same
    ]
    assert len(each) == terms
    found = pair_cross_entropy(targets, log_probs, rule(global_views, views))
    torch.testing.assert_close(found, torch.stack(each).mean())


@pytest.mark.parametrize("images_at_once", [1, 2, 5])
@pytest.mark.parametrize("weights", [None, (0.3, 0.9)])
def test_the_gradient_made_with_the_loss_is_that_of_autograd(
    monkeypatch: pytest.MonkeyPatch, images_at_once: int, weights: tuple[float, float] | None
) -> None:
    scores = torch.randn(4, 5, 7, dtype=torch.float64, requires_grad=True)
    # SwAV's codes sum to 1 only nearly, and the gradient has to know.
    targets = torch.rand(2, 5, 7, dtype=torch.float64)
    monkeypatch.setattr("lowzoo.train.kernels.pair_cross_entropy._CACHE_BYTES", images_at_once * 4 * 7 * 8)
    if weights is None:
        loss = pair_cross_entropy(targets, scores, same_view_and_locals(2, 4), 0.3)
    else:
        loss = grouped_cross_entropy(targets, scores, *weights, temperature=0.3)
    # 6 pairs of RoB; of SSLight 2 of global views and 4 with a local one.
    weights_GV = same_view_and_locals(2, 4).double() / 6
    if weights is not None:
        to_global, to_local = weights[0] / 2, weights[1] / 4
        weights_GV = torch.tensor([[0, to_global, to_local, to_local], [to_global, 0, to_local, to_local]]).double()
    expected = reference_cross_entropy(targets, scores, weights_GV, 0.3)
    torch.testing.assert_close(loss, expected)
    (slope,) = torch.autograd.grad(expected, scores)
    torch.testing.assert_close(torch.autograd.grad(loss, scores, retain_graph=True)[0], slope)
    torch.testing.assert_close(torch.autograd.grad(8 * loss, scores)[0], 8 * slope)


@pytest.mark.parametrize("local_views", [0, 6, 10])
def test_shares_of_the_pairs_as_weights_give_the_plain_mean(local_views: int) -> None:
    targets = torch.randn(2, 3, 7).softmax(-1)
    log_probs = torch.randn(2 + local_views, 3, 7).log_softmax(-1)
    among_global, to_local = 2, 2 * local_views
    alpha = among_global / (among_global + to_local)
    plain = pair_cross_entropy(targets, log_probs, cross_view(2, 2 + local_views))
    torch.testing.assert_close(grouped_cross_entropy(targets, log_probs, alpha, 1 - alpha), plain)


def test_msn_target_is_a_softmax_of_lower_temperature() -> None:
    embeddings, prototypes = torch.randn(5, 16), torch.randn(20, 16)
    cosines = normalize(embeddings, dim=1) @ normalize(prototypes, dim=1).T
    sharpened = (cosines / 0.1).softmax(1) ** 4
    found = msn_targets(embeddings, prototypes, iterations=0)
    torch.testing.assert_close(found, sharpened / sharpened.sum(1, keepdim=True))
    torch.testing.assert_close(found, RobObjective(TEACHER_TEMPERATURE["msn"]).targets(cosines))


def test_me_max_is_nothing_for_even_use_and_ln_k_for_one_prototype() -> None:
    prototypes = torch.eye(8)
    spread = msn_loss(prototypes[None], torch.full((8, 8), 1 / 8), prototypes)[1]
    alone = msn_loss(prototypes[:1].repeat(8, 1)[None], torch.full((8, 8), 1 / 8), prototypes, temperature=0.01)[1]
    assert spread.item() == pytest.approx(0, abs=1e-6)
    assert alone.item() == pytest.approx(math.log(8), rel=1e-6)


def test_codes_use_prototypes_alike() -> None:
    scores = torch.rand(64, 12, dtype=torch.float64)
    codes = sinkhorn(scores, epsilon=0.05, iterations=50)
    torch.testing.assert_close(codes.sum(1), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(codes.mean(0), torch.full((12,), 1 / 12, dtype=torch.float64), rtol=1e-3, atol=0)
    rough = sinkhorn(scores, epsilon=0.05, iterations=3)
    torch.testing.assert_close(rough.sum(1), torch.ones(64, dtype=torch.float64))
    torch.testing.assert_close(sinkhorn(torch.full((6, 4), 0.3), epsilon=0.05), torch.full((6, 4), 0.25))


def test_codes_of_scores_that_spread_widely_stay_finite() -> None:
    codes = sinkhorn(100 * torch.randn(16, 65_536), epsilon=0.03)
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(16))


def test_seed_with_a_cold_teacher_is_info_nce() -> None:
    cold = SeedObjective(16, 32, student_temperature=0.2, teacher_temperature=1e-6).double()
    contrast = MocoObjective(16, 32, temperature=0.2).double()
    contrast.queue.load_state_dict(cold.queue.state_dict())
    start, teacher = torch.randn(8, 16, dtype=torch.float64), torch.randn(8, 16, dtype=torch.float64)
    gradients = []
    for loss in (lambda s: cold.loss(s, teacher), lambda s: contrast.loss(s[None], teacher)):
        student = start.clone().requires_grad_()
        loss(student).backward()
        gradients.append(student.grad)
    torch.testing.assert_close(*gradients)


def test_seed_gives_the_teacher_no_gradient() -> None:
    student, teacher = (torch.randn(4, 16, requires_grad=True) for _ in range(2))
    SeedObjective(16, 8).loss(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_seed_has_the_gradient_of_its_formula() -> None:
    objective = SmallPatchObjective(6, 4).double()
    student, teacher = torch.randn(2, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    locals_, teacher_locals = torch.randn(3, 2, 6, dtype=torch.float64), torch.randn(3, 2, 6, dtype=torch.float64)
    inputs = student.requires_grad_(), locals_.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, v: objective.loss(s, teacher, v, teacher_locals), inputs)


@pytest.mark.parametrize("teacher_temperature", [0.01, 1e-4])
def test_seed_in_little_memory_is_seed(teacher_temperature: float) -> None:
    objective = SeedObjective(6, 40, teacher_temperature=teacher_temperature).double()
    student = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(5, 6, dtype=torch.float64)
    unit = normalize(student, dim=-1), normalize(teacher, dim=-1)
    expected = reference_loss(*unit, objective.queue.keys, objective.student_temperature, teacher_temperature)
    loss = objective.loss(student, teacher)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, student), torch.autograd.grad(expected, student))


def test_no_loss_talks_to_other_processes() -> None:
    files = list(Path(losses.__path__[0]).glob("*.py"))
    assert len(files) > 9
    assert not [file.name for file in files if "distributed" in file.read_text(encoding="utf-8")]


def test_queue_wraps_after_as_many_steps_as_batches_fit() -> None:
    queue = KeyQueue(3, 12)
    batches = [torch.full((4, 3), float(step)) for step in range(4)]
    for step, batch in enumerate(batches[:3]):
        assert int(queue.pointer) == 4 * step
        queue.push(batch)
    assert int(queue.pointer) == 0
    assert torch.equal(queue.keys, torch.cat(batches[:3]))
    queue.push(batches[3])
    assert torch.equal(queue.keys, torch.cat((batches[3], *batches[1:3])))


def test_queue_takes_a_smaller_batch_from_where_it_stands() -> None:
    queue = KeyQueue(1, 12)
    queue.push(torch.zeros(4, 1))
    queue.push(torch.ones(6, 1))
    queue.push(torch.full((6, 1), 2.0))
    assert queue.keys.flatten().tolist() == [2.0] * 4 + [1.0] * 6 + [2.0] * 2
    assert int(queue.pointer) == 4


def test_queue_that_the_batch_does_not_divide_is_refused() -> None:
    queue = KeyQueue(3, 10)
    before = queue.keys.clone()
    with pytest.raises(LowzooError, match="a queue of 10 cannot be divided by the batch of 4") as error:
        queue.push(torch.randn(4, 3))
    assert "queue=8" in str(error.value.remedy)
    assert torch.equal(queue.keys, before)


def test_seed_holds_two_matrices_at_a_time() -> None:
    """Counted from what the allocator gives and takes back, insides of operations included."""
    batch, keys, width = 64, 16_384, 8
    objective = SeedObjective(width, keys)
    student, teacher = torch.randn(batch, width, requires_grad=True), torch.randn(batch, width)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        objective.loss(student, teacher).backward()
    changes = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]
    matrix = batch * (keys + 1) * 4
    assert sum(size >= matrix for size in sizes) >= 2
    assert max(accumulate(sizes)) < 2.2 * matrix
