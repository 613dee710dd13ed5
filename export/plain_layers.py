"""A transformer's layers from operators that NNAPI has, at the size of tensor that it takes.

It has no LayerNormalization, Gelu or Erf, and no tensor of five dimensions; each ends a partition, and a ViT-Tiny
falls into 38. A processor runs the layers as they were faster, so they are exchanged for that target only.
"""

import math

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn import functional


class PlainLayerNorm(nn.Module):
    """Layer norm over the last dimension from means, a root and a quotient.

    Args:
        source: Whose weights it takes over.
    """

    def __init__(self, source: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = source.eps
        self.weight, self.bias = source.weight, source.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., D)."""
        # In float16 a square overflows beyond 255 and the epsilon is next to nothing, so torch's own layer norm, too,
        # takes its moments in float32.
        wide = x.float()
        centred = wide - wide.mean(-1, keepdim=True)
        normal = (centred / ((centred * centred).mean(-1, keepdim=True) + self.eps).sqrt()).to(x.dtype)
        if self.weight is not None:
            normal = normal * self.weight
        return normal if self.bias is None else normal + self.bias


class PlainGelu(nn.Module):
    """relu(x) - |x| q(|x|), where q is the normal distribution's upper tail: GELU with an error below 1e-6.

    erfc(z) = t (a1 + t (a2 + ...)) exp(-z^2) with t = 1 / (1 + p z): Abramowitz and Stegun, 7.1.26, to 1.5e-7.
    """

    _P = 0.3275911
    _A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        size = x.abs()
        # A tensor of ones, because 1 / x becomes a Reciprocal, which NNAPI has not; of x's type, or float16 becomes
        # float32 from here on.
        t = torch.ones(1, dtype=x.dtype, device=x.device) / (1 + size * (self._P / math.sqrt(2)))
        series = t * self._A[-1]
        for coefficient in reversed(self._A[:-1]):
            series = (series + coefficient) * t
        return functional.relu(x) - size * (0.5 * series * (size * size * -0.5).exp())


class PlainAttention(nn.Module):
    """Attention whose tensors have four dimensions at most, as NNAPI's: timm cuts (B, N, 3, heads, D) in three.

    Args:
        source: Whose layers it takes over.
    """

    def __init__(self, source: Attention) -> None:
        super().__init__()
        self.heads, self.scale = source.num_heads, source.scale
        self.qkv, self.q_norm, self.k_norm, self.proj = source.qkv, source.q_norm, source.k_norm, source.proj

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """(B, N, C)."""
        batch, tokens, _ = x.shape
        query, key, value = (
            part.reshape(batch, tokens, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        weights = ((self.q_norm(query) * self.scale) @ self.k_norm(key).transpose(2, 3)).softmax(-1)
        mixed: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, -1))
        return mixed
