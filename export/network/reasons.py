"""Why a network cannot be written, in plain words: what it does that the format has not.

Converters speak of layers, overloads and guards; what is not known here is told as they say it.
"""

import errno
import re

from lowzoo.base.errors import reason_of

# Operators are named with torch's room or without, and with the overload behind them or without.
_OPERATOR = r"(?:torch\.ops\.)?['\"]?(?:(?:aten|prims?|torchvision)(?:\.|::))?(\w+)"
_BY_VALUES = "what it computes next depends on the values in the picture, which no fixed graph can follow"
_KNOWN = (
    (
        r"only supports tensors with rank <= (\d).*rank (\d) tensor",
        "it works on tensors of {1} dimensions, Core ML on at most {0}",
    ),
    (
        rf"convert function for op {_OPERATOR}.*not implemented",
        "it uses torch's {0}, which coremltools does not know",
    ),
    (
        rf"No (?:ONNX function|decompositions?) (?:found|registered) for .*?op={_OPERATOR}",
        "it uses torch's {0}, which the ONNX exporter does not know",
    ),
    (r"Missing out variants:? *\{?'?(?:\w+::)?(\w+)", "it uses the operator {0}, which ExecuTorch has no code for"),
    (rf"[Ll]owering not found:? *{_OPERATOR}", "it uses torch's {0}, which litert-torch does not know"),
    (
        r"'tfl\.(\w+)' op failed to verify that operand \d is at most (\d)-D",
        "it gives {0} a tensor of more than {1} dimensions, which LiteRT does not take",
    ),
    (
        r"'tfl\.(\w+)' op found invalid output rank",
        "it gives {0} a tensor of dimensions that LiteRT does not take",
    ),
    (
        r"contracting dimension sizes must match",
        "litert-torch makes a product of sizes that do not fit of one that does",
    ),
    (
        r"Cannot view a tensor with shape .* and strides",
        "the converter lays a tensor out so that the network's next view of it does not fit",
    ),
    (r"[Dd]ata[- ]dependent|GuardOnDataDependent|[Dd]ynamic control flow", _BY_VALUES),
)
# Where packages lie on whose machine it was says nothing.
_PLACE = re.compile(r"\S*/site-packages/")
_WRAPPED = re.compile(r"\S+ cannot be exported [^(]*\((.*)\)(?:; known of its family.*)?", re.S)


def plain_reason(error: BaseException) -> str:
    """What another library's error says, in plain words where it is a known one, in its own otherwise.

    Raises:
        OSError: The disk is full, which is no fault of the network.
    """
    cause: BaseException | None = error
    while cause is not None:
        if f"[Errno {errno.ENOSPC}]" in str(cause) or (isinstance(cause, OSError) and cause.errno == errno.ENOSPC):
            raise OSError(errno.ENOSPC, "no space left on device") from error
        cause = cause.__cause__ or cause.__context__
    return in_plain_words(str(error)) or _PLACE.sub("", reason_of(error))


def in_plain_words(text: str) -> str:
    """What a known text of a converter means; empty for any other."""
    for pattern, words in _KNOWN:
        if found := re.search(pattern, text, re.S):
            return words.format(*found.groups())
    return ""


def reason_alone(message: str) -> str:
    """The reason in a refusal to export, without the name of the network; in plain words where it is a known one."""
    found = _WRAPPED.fullmatch(message)
    reason = found[1] if found else message
    return in_plain_words(reason) or _PLACE.sub("", reason)
