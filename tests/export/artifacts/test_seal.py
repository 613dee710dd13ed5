"""One changed byte of an artifact is found, in every format and wherever it is."""

import hashlib

import numpy as np
import pytest
from torch import nn

from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.artifacts import seal as seal_module
from lowzoo.export.artifacts.places import tree
from lowzoo.export.artifacts.seal import SEAL, UNSEALED, is_unchanged, seal
from lowzoo.export.formats import FORMATS
from lowzoo.export.functions import check
from tests.helpers.export import tiny_resolved

# The formats whose packages `dev` brings.
FORMATS_HERE = ["onnx", "coreml", "openvino", "ncnn", "mnn"]
FURTHER = {"executorch": "executorch", "litert": "litert_torch"}


MARK = 0.123456


class Plain(nn.Module):
    """What every format has a layer for."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 5, 2)
        self.conv.bias.data[3] = MARK  # a weight that is found again in every format

    def forward(self, x):
        return self.conv(x).relu().mean((2, 3))


NETWORK = tiny_resolved(Plain())


def flipped(file, place):
    """Change one bit of a file."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


def exported(name, folder):
    return write_artifact(NETWORK, ExportSpec(format=name), folder / f"net{FORMATS[name].suffix}").path


def require_change_is_found(name, folder):
    path = exported(name, folder)
    kind = FORMATS[name]
    notes = kind.notes(path)
    assert is_unchanged(path, notes) is True
    files = tree(path)
    assert files
    for file in files:
        for place in (0, file.stat().st_size // 2, file.stat().st_size - 1):
            flipped(file, place)
            assert is_unchanged(path, notes) is False, (file, place)
            flipped(file, place)
    # As a check reads it: what the file says of itself stands in the changed file.
    weight = np.float32(MARK).tobytes()
    weights = next(file for file in files if weight in file.read_bytes())
    flipped(weights, weights.read_bytes().find(weight))
    assert is_unchanged(path, kind.notes(path)) is False
    flipped(weights, weights.read_bytes().find(bytes([weight[0] ^ 1]) + weight[1:]))
    assert is_unchanged(path, kind.notes(path)) is True


@pytest.mark.parametrize("name", FORMATS_HERE)
def test_a_flipped_bit_is_found(name, tmp_path):
    require_change_is_found(name, tmp_path)


@pytest.mark.parametrize("name", FURTHER)
def test_a_flipped_bit_is_found_where_the_package_is_installed(name, tmp_path):
    pytest.importorskip(FURTHER[name])
    require_change_is_found(name, tmp_path)


def test_two_exports_of_the_same_are_the_same_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert exported("onnx", tmp_path / "a").read_bytes() == exported("onnx", tmp_path / "b").read_bytes()


def test_the_hash_is_that_of_the_bytes_with_zeros_in_its_place(tmp_path):
    path = exported("onnx", tmp_path)
    stated = FORMATS["onnx"].notes(path)[SEAL]
    data = path.read_bytes()
    assert data.count(stated.encode()) == 1
    zeros = data.replace(stated.encode(), UNSEALED.encode())
    assert stated == f"sha256:{hashlib.sha256(zeros).hexdigest()}"


@pytest.mark.parametrize("piece", [1, 7, 71, 1000])
def test_pieces_of_any_length_give_the_same(piece, tmp_path, monkeypatch):
    data = b"head" + UNSEALED.encode() + bytes(300) + UNSEALED.encode()
    monkeypatch.setattr(seal_module, "_PIECE", piece)
    file = tmp_path / "any.onnx"
    file.write_bytes(data)
    seal(file)
    stated = file.read_bytes()[4 : 4 + len(UNSEALED)].decode()
    assert stated == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert file.read_bytes() == data.replace(UNSEALED.encode(), stated.encode())
    assert is_unchanged(file, {SEAL: stated}) is True
    assert is_unchanged(file, {}) is None
    assert is_unchanged(file, {SEAL: UNSEALED}) is None
    for damaged in ("", "0", "sha256:", stated[:-1], stated.upper()):
        assert is_unchanged(file, {SEAL: damaged}) is False


def test_what_has_no_place_for_a_hash_is_left_alone(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    (tmp_path / "empty.onnx").touch()
    seal(tmp_path / "x.onnx")
    seal(tmp_path / "empty.onnx")
    archive = b"PK\x03\x04 with checksums of its own" + UNSEALED.encode()
    (tmp_path / "x.pt2").write_bytes(archive)
    seal(tmp_path / "x.pt2")
    assert (tmp_path / "x.pt2").read_bytes() == archive
    assert (tmp_path / "x.onnx").read_bytes() == b"nothing"


def test_a_hidden_file_of_a_file_manager_is_no_change(tmp_path):
    path = exported("coreml", tmp_path)
    (path / ".DS_Store").write_bytes(b"icons")
    assert is_unchanged(path, FORMATS["coreml"].notes(path)) is True
    (path / "more").write_bytes(b"weights")
    assert is_unchanged(path, FORMATS["coreml"].notes(path)) is False


def test_a_renamed_file_is_no_change(tmp_path):
    path = exported("openvino", tmp_path)
    path.with_suffix(".bin").rename(tmp_path / "other.bin")
    path = path.rename(tmp_path / "other.xml")
    assert is_unchanged(path, FORMATS["openvino"].notes(path)) is True


def test_a_lossy_file_has_its_hash_too(tmp_path):
    spec = ExportSpec(precision="int8", max_loss=MaxLoss(None, 0.9))
    path = write_artifact(tiny_resolved(), spec, tmp_path / "int8.onnx").path
    assert is_unchanged(path, FORMATS["onnx"].notes(path)) is True


def test_a_check_says_that_a_file_was_changed(tmp_path):
    path = exported("onnx", tmp_path)
    assert "CHANGED" not in str(check(path, against=NETWORK))
    import onnx

    model = onnx.load(path)
    model.doc_string = "saved again"
    onnx.save(model, path)
    report = check(path, against=NETWORK)
    assert report.unchanged is False
    assert not report.broken
    assert "CHANGED since its export: its bytes are not those" in str(report)
    assert '"unchanged": false' in report.to_json()
