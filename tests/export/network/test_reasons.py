"""What converters say of what they cannot write, in plain words."""

import errno

import pytest

from lowzoo.export.network.reasons import in_plain_words, plain_reason, reason_alone

SAID = {
    'Core ML only supports tensors with rank <= 5. Layer "view", with type "reshape", outputs a rank 6 tensor.': (
        "it works on tensors of 6 dimensions, Core ML on at most 5"
    ),
    "PyTorch convert function for op 'linalg_vector_norm' not implemented.": (
        "it uses torch's linalg_vector_norm, which coremltools does not know"
    ),
    "No ONNX function found for <OpOverload(op='aten._fft_r2c', overload='default')>. Failure message": (
        "it uses torch's _fft_r2c, which the ONNX exporter does not know"
    ),
    "No ONNX function found for <OpOverload(op='prims.lgamma', overload='default')>. Failure message": (
        "it uses torch's lgamma, which the ONNX exporter does not know"
    ),
    "Lowering not found: torchvision::roi_align": "it uses torch's roi_align, which litert-torch does not know",
    "Missing out variants: {'aten::_fft_r2c'}": "it uses the operator _fft_r2c, which ExecuTorch has no code for",
    "Missing out variants: {'quantized_decomposed::choose_qparams'}": (
        "it uses the operator choose_qparams, which ExecuTorch has no code for"
    ),
    "Lowering not found: aten._fft_r2c.default": "it uses torch's _fft_r2c, which litert-torch does not know",
    "halo_attn.py:228:0: error: 'tfl.pad' op failed to verify that operand 0 is at most 5-D": (
        "it gives pad a tensor of more than 5 dimensions, which LiteRT does not take"
    ),
    "Could not guard on data-dependent expression Eq(u0, 1)": (
        "what it computes next depends on the values in the picture, which no fixed graph can follow"
    ),
}


@pytest.mark.parametrize("text", SAID)
def test_a_known_reason_is_told_plainly(text):
    assert in_plain_words(text) == SAID[text]
    assert plain_reason(RuntimeError(text)) == SAID[text]
    assert reason_alone(f"net_a cannot be exported to Core ML ({text})") == SAID[text]


def test_an_unknown_reason_stays_as_it_is():
    assert plain_reason(RuntimeError("of its own")) == "of its own"
    assert plain_reason(RuntimeError("bad line in /home/me/site-packages/timm/x.py:3")) == "bad line in timm/x.py:3"
    assert reason_alone("net_a cannot be exported by executorch 1.5 and torch 2.1 (of (its) own)") == "of (its) own"
    assert reason_alone("it takes more than 300 s") == "it takes more than 300 s"


def test_a_full_disk_is_no_fault_of_the_network():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as full:
            raise RuntimeError("Error in converter pass") from full
    except RuntimeError as wrapped:
        with pytest.raises(OSError, match="no space left") as raised:
            plain_reason(wrapped)
    assert raised.value.errno == errno.ENOSPC
    assert "No such file" in plain_reason(OSError(errno.ENOENT, "No such file"))
