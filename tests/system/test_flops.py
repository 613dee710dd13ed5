"""Operations are counted by formulas that know a convolution's groups."""

import pytest
import torch
from torch import nn

from lowzoo.system.device_trace import DeviceTrace
from lowzoo.system.flops import arithmetic

# Images, channels, side, kernel: an operation is a product or a sum.
N, C, S, K = 2, 24, 10, 3
FORWARD = 2 * N * C * S * S * K * K


def _step() -> None:
    layer = nn.Conv2d(C, C, K, padding=1, groups=C, bias=False)
    layer(torch.zeros(N, C, S, S, requires_grad=True)).sum().backward()


def test_a_depthwise_convolution_takes_three_times_its_forward_pass() -> None:
    with arithmetic() as counted:
        _step()
    assert counted.get_total_flops() == 3 * FORWARD


@pytest.mark.parametrize("groups", [1, 4, C])
def test_a_traced_step_has_the_same_operations(groups: int) -> None:
    trace = DeviceTrace()
    with trace:
        layer = nn.Conv2d(C, C, K, padding=1, groups=groups, bias=False).to("cuda")
        trace.hold(layer)
        layer(torch.zeros(N, C, S, S, device="cuda")).sum().backward()
    # Forward, and the weight's gradient: the pictures need none.
    assert trace.flops == 2 * FORWARD * C // groups
