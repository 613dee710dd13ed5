"""The last block of a ViT, computed for the class token alone, as nobody reads what it makes of the others.

Of the block's 12 D^2 multiplications a token, the patches only need the 2 D^2 of their keys and values: a network of 12
blocks saves 7 % of its arithmetic, forward and backward, and gives the same feature and gradients but for rounding.
Losses that read patches (RoB-iBOT) keep the whole block.
"""

from types import MethodType
from typing import Any

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

_TOLERANCE = 1e-4


def shorten_last_block(backbone: nn.Module) -> bool:
    """Let the last block of a ViT make its class token alone; the state dict stays as it is.

    Args:
        backbone: Headless network, changed in place.

    Returns:
        Whether it is a network of timm's plain kind, whose feature is the class token; others are left alone.
    """
    if not isinstance(backbone, VisionTransformer) or backbone.global_pool != "token" or backbone.cls_token is None:
        return False
    # A distilled DeiT reads a second token, too.
    if type(backbone).forward_head is not VisionTransformer.forward_head:
        return False
    block: Any = backbone.blocks[-1]
    if type(block) is not Block or type(block.attn) is not Attention or not _agrees(block):
        return False
    block.forward = MethodType(_class_token, block)
    return True


def _class_token(block: Any, x: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
    """Tokens (B, N, D) to the class token (B, 1, D); what `Block.forward` gives at place 0."""
    if attn_mask is not None or more:
        whole: Tensor = Block.forward(block, x, attn_mask=attn_mask, **more)
        return whole
    attn, normed = block.attn, block.norm1(x)
    images, tokens = x.shape[:2]
    weight, bias = attn.qkv.weight, attn.qkv.bias
    width = len(weight) // 3
    of_query, of_rest = (None, None) if bias is None else (bias[:width], bias[width:])
    q = linear(normed[:, :1], weight[:width], of_query).view(images, 1, attn.num_heads, -1).transpose(1, 2)
    rest = linear(normed, weight[width:], of_rest).view(images, tokens, 2, attn.num_heads, -1)
    k, v = rest.permute(2, 0, 3, 1, 4)
    q, k = attn.q_norm(q), attn.k_norm(k)
    if attn.fused_attn:
        mixed = scaled_dot_product_attention(q, k, v, dropout_p=attn.attn_drop.p if attn.training else 0.0)
    else:
        mixed = attn.attn_drop((q * attn.scale @ k.transpose(-2, -1)).softmax(dim=-1)) @ v
    mixed = attn.proj_drop(attn.proj(mixed.transpose(1, 2).reshape(images, 1, width)))
    first: Tensor = x[:, :1] + block.drop_path1(block.ls1(mixed))
    first = first + block.drop_path2(block.ls2(block.mlp(block.norm2(first))))
    return first


@torch.no_grad()
def _agrees(block: Any) -> bool:
    """Whether this block is what `_class_token` takes it for: timm's blocks have grown options, so it is tried."""
    weight = block.attn.qkv.weight
    tokens = torch.randn(2, 5, weight.shape[1], generator=torch.Generator().manual_seed(0)).to(weight)
    training = block.training
    block.eval()
    expected, found = block(tokens)[:, :1], _class_token(block, tokens)
    block.train(training)
    return bool((expected - found).abs().max() <= _TOLERANCE * expected.abs().max())
