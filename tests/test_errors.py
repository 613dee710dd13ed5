"""What a user reads of an error: message and remedy, and other libraries' words in one line."""

from lowzoo.errors import LowzooError, reason_of


def test_message_and_remedy_are_two_sentences():
    assert str(LowzooError("it is empty", "Name another")) == "it is empty. Name another"
    assert str(LowzooError("it is empty")) == "it is empty"


def test_a_reason_is_one_short_line_and_never_empty():
    assert reason_of(RuntimeError("size mismatch:\n\tweight\n  is (3, 4)")) == "size mismatch: weight is (3, 4)"
    assert reason_of(OSError()) == "OSError"
    assert len(reason_of(ValueError("x" * 1000))) == 200
