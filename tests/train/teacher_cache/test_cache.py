"""The teacher cache gives back what was stored for the same view, and never anything else."""

import errno
import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.train.teacher_cache.cache import TeacherCache
from lowzoo.train.teacher_cache.identity import CacheIdentity
from lowzoo.train.teacher_cache.size import cache_bytes, patch_cache_bytes, refuse_patch_targets
from lowzoo.train.views import ViewGroup, sample_params

GROUPS = (
    ViewGroup(name="global", count=2, size=32, scale=(0.25, 1.0), blur=(1.0, 0.1)),
    ViewGroup(name="local", count=4, size=16, scale=(0.05, 0.25)),
)
WIDTH, COUNT = 7, 40
IDENTITY = CacheIdentity(
    teacher="dino_vits16",
    teacher_checksum="0123",
    head="dino",
    bottleneck=WIDTH,
    precision="fp32",
    views=GROUPS,
    seed=3,
    data="abcd",
    count=COUNT,
    view_epochs=2,
)


def views(epoch: int, indices: list[int], width: int = 60) -> Tensor:
    """Parameters (B, 2, 13) of the global views."""
    drawn = [sample_params(GROUPS[:1], 3, epoch % 2, index, 40, width).record() for index in indices]
    return torch.from_numpy(np.stack(drawn))


def says(epoch: int, indices: list[int]) -> Tensor:
    """What the teacher says, (B, 2, 7): another thing for every view."""
    rows = [
        torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1000 * (epoch % 2) + index)) for index in indices
    ]
    return torch.stack(rows)


def fill(cache: TeacherCache, epoch: int, indices: list[int]) -> None:
    cache.write(epoch, torch.tensor(indices), says(epoch, indices), views(epoch, indices))


def read(cache: TeacherCache, epoch: int, indices: list[int]) -> Tensor:
    return cache.read(epoch, torch.tensor(indices), views(epoch, indices))


def test_rows_come_back_for_their_epoch_and_image(tmp_path: Path) -> None:
    cache = TeacherCache.open(tmp_path / "cache", IDENTITY)
    assert cache.missing(0, torch.arange(COUNT)).all()
    assert cache.filled_share() == 0
    fill(cache, 0, [5, 0, 39])
    fill(cache, 1, [5])
    assert np.flatnonzero(~cache.missing(0, torch.arange(COUNT))).tolist() == [0, 5, 39]
    assert np.flatnonzero(~cache.missing(1, torch.arange(COUNT))).tolist() == [5]
    found = read(cache, 0, [39, 5, 5])
    assert found.dtype == torch.float32
    assert torch.equal(found, says(0, [39, 5, 5]).half().float())
    assert torch.equal(read(cache, 1, [5]), says(1, [5]).half().float())
    assert cache.filled_share() == 4 / (2 * COUNT)
    with pytest.raises(LowzooError, match="no row for 1 of 2 images of epoch 1, the first is image 6"):
        read(cache, 1, [5, 6])


def test_views_repeat_after_the_stated_epochs(tmp_path: Path) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    fill(cache, 1, [4])
    assert not cache.missing(5, np.array([4]))[0]
    assert torch.equal(read(cache, 5, [4]), says(1, [4]).half().float())
    assert cache.missing(4, np.array([4]))[0]


def test_another_process_shares_it_at_once(tmp_path: Path) -> None:
    writer = TeacherCache.open(tmp_path, IDENTITY)
    reader = TeacherCache.open(tmp_path, IDENTITY, create=False)
    assert reader.missing(0, np.arange(COUNT)).all()
    fill(writer, 0, [1, 2])
    assert torch.equal(read(reader, 0, [2, 1]), says(0, [2, 1]).half().float())
    fill(writer, 0, [3])
    assert not reader.missing(0, np.array([1, 2, 3])).any()
    with pytest.raises(LowzooError, match="opened for reading"):
        fill(reader, 0, [9])


def test_a_valid_row_never_changes(tmp_path: Path) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    fill(cache, 0, [8])
    cache.write(0, np.array([8, 9]), says(0, [20, 21]), views(0, [8, 9]))
    assert torch.equal(read(cache, 0, [8]), says(0, [8]).half().float())
    assert torch.equal(read(cache, 0, [9]), says(0, [21]).half().float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher_checksum": "4567"}, "teacher_checksum is 0123 there and 4567 here"),
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"data": "ef", "count": 41}, "count is 40 there and 41 here; data is abcd there and ef here"),
        ({"head": "mlp", "bottleneck": 8, "precision": "bf16"}, "bottleneck is 7 .* head is dino .* precision is fp32"),
        (
            {"views": (GROUPS[0].model_copy(update={"scale": (0.4, 1.0)}),)},
            r"views.0.scale is \[0.25, 1.0\] there and \[0.4, 1.0\] here",
        ),
        ({"views": (GROUPS[0], GROUPS[0])}, "views.1.size is absent there and 32 here"),
    ],
)
def test_a_cache_of_something_else_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    fill(TeacherCache.open(tmp_path, IDENTITY), 0, [1])
    for create in (True, False):
        with pytest.raises(LowzooError, match=message) as caught:
            TeacherCache.open(tmp_path, replace(IDENTITY, **change), create)
        assert "--teacher-cache" in caught.value.remedy


def test_local_views_and_the_name_of_the_teacher_do_not_matter(tmp_path: Path) -> None:
    fill(TeacherCache.open(tmp_path, IDENTITY), 0, [1])
    other = replace(IDENTITY, views=GROUPS[:1], teacher="runs/copy_of_it")
    assert not TeacherCache.open(tmp_path, other).missing(0, np.array([1]))[0]


def test_runs_of_other_lengths_share_their_epochs(tmp_path: Path) -> None:
    fill(TeacherCache.open(tmp_path, IDENTITY), 1, [1])
    longer = TeacherCache.open(tmp_path, replace(IDENTITY, view_epochs=5))
    assert torch.equal(read(longer, 1, [1]), says(1, [1]).half().float())
    assert longer.missing(3, np.array([1]))[0]
    fill(longer, 3, [1])
    assert longer.filled_share() == 2 / (5 * COUNT)
    assert TeacherCache.open(tmp_path, IDENTITY).filled_share() == 1 / (2 * COUNT)


def test_what_is_not_a_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LowzooError, match="there is no teacher cache in"):
        TeacherCache.open(tmp_path, IDENTITY, create=False)
    (tmp_path / "cache.json").write_text('{"version": 1, "tea')
    with pytest.raises(LowzooError, match=r"cannot read .*cache\.json"):
        TeacherCache.open(tmp_path, IDENTITY)
    (tmp_path / "cache.json").write_text(json.dumps({"version": 0}))
    with pytest.raises(LowzooError, match="version is 0 there and 1 here"):
        TeacherCache.open(tmp_path, IDENTITY)


def test_a_row_of_another_view_is_stale(tmp_path: Path) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    fill(cache, 0, [1, 2])
    moved = views(0, [1, 2])
    moved[1, 1, 1] += 1
    with pytest.raises(LowzooError, match="is stale: image 2, epoch 0, view 1: crop left is"):
        cache.read(0, torch.tensor([1, 2]), moved)
    resized = views(0, [1, 2], width=90)
    with pytest.raises(LowzooError, match="is stale: image 1, epoch 0, view 0: crop"):
        cache.read(0, torch.tensor([1, 2]), resized)


@pytest.mark.parametrize("kind", ["rows", "sums"])
def test_torn_rows_count_as_missing_and_are_made_again(tmp_path: Path, kind: str) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    fill(cache, 0, list(range(COUNT)))
    file = tmp_path / f"epoch-0000.{kind}"
    size = file.stat().st_size // COUNT
    with file.open("r+b") as handle:
        handle.seek(11 * size + size // 2)
        handle.write(b"\x00" * size)  # the end of row 11 and the beginning of row 12
    again = TeacherCache.open(tmp_path, IDENTITY)
    assert np.flatnonzero(again.missing(0, np.arange(COUNT))).tolist() == [11, 12]
    fill(again, 0, [11, 12])
    assert torch.equal(read(again, 0, [11, 12, 13]), says(0, [11, 12, 13]).half().float())


def test_a_row_in_the_wrong_place_is_not_trusted(tmp_path: Path) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    fill(cache, 0, [3])
    for kind in ("rows", "sums"):
        file = tmp_path / f"epoch-0000.{kind}"
        size = file.stat().st_size // COUNT
        data = bytearray(file.read_bytes())
        data[7 * size : 8 * size] = data[3 * size : 4 * size]
        file.write_bytes(data)
    assert TeacherCache.open(tmp_path, IDENTITY).missing(0, np.array([3, 7])).tolist() == [False, True]


def test_killed_writers_leave_nothing_wrong(tmp_path: Path) -> None:
    TeacherCache.open(tmp_path, IDENTITY)
    everything = list(range(COUNT))
    for round_ in range(4):
        children = []
        for rank in range(2):
            child = os.fork()
            if not child:
                cache = TeacherCache.open(tmp_path, IDENTITY)
                for index in random.Random(10 * round_ + rank).sample(everything, COUNT):
                    fill(cache, 0, [index, (index + 1) % COUNT])
                    time.sleep(0.002)
                os._exit(0)
            children.append(child)
        time.sleep(random.Random(round_).uniform(0.01, 0.06))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        cache = TeacherCache.open(tmp_path, IDENTITY)
        filled = np.flatnonzero(~cache.missing(0, np.arange(COUNT))).tolist()
        assert torch.equal(read(cache, 0, filled), says(0, filled).half().float()) if filled else True
    assert filled
    fill(cache, 0, everything)
    assert torch.equal(read(cache, 0, everything), says(0, everything).half().float())


def test_a_full_disk_is_an_error_and_the_cache_stays_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    fill(cache, 0, [1])
    real, room = os.pwrite, 300

    def limited(file: int, data: bytes, offset: int) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = min(room, len(data))
        room -= part
        return real(file, data[:part], offset)

    monkeypatch.setattr(os, "pwrite", limited)
    with pytest.raises(LowzooError, match="No space left on device; what it holds stays valid"):
        fill(cache, 0, [2, 3, 4, 5])
    assert cache.missing(0, np.array([1, 2, 3, 4, 5])).tolist() == [False, True, True, True, True]
    room = 10**6
    fill(cache, 0, [2, 3, 4, 5])
    assert torch.equal(read(cache, 0, [1, 2, 3]), says(0, [1, 2, 3]).half().float())


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_what_fp16_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    bottleneck = says(0, [1])
    bottleneck[0, 0, 0] = value
    with pytest.raises(LowzooError, match="fp16 cannot hold"):
        cache.write(0, np.array([1]), bottleneck, views(0, [1]))
    assert cache.missing(0, np.array([1]))[0]


def test_the_stated_size_is_that_of_a_full_cache(tmp_path: Path) -> None:
    cache = TeacherCache.open(tmp_path, IDENTITY)
    for epoch in range(2):
        fill(cache, epoch, list(range(COUNT)))
    assert cache.filled_share() == 1
    on_disk = sum(file.stat().st_size for file in tmp_path.glob("epoch-*"))
    assert on_disk == cache_bytes(COUNT, 2, 2, WIDTH)
    assert "100% filled" in str(cache)
    assert cache_bytes(1_281_167, 1, 2, 256) == pytest.approx(1.46e9, rel=0.01)


def test_patch_targets_are_refused_with_their_size() -> None:
    assert patch_cache_bytes(10, 1, 2, 196, 256) == 10 * 2 * 196 * 512
    with pytest.raises(LowzooError, match=r"1281167 images x 100 epochs x 2 views x 196 patches .* are 25\.7 TB"):
        refuse_patch_targets(1_281_167, 100, 2, 196, 256)


@pytest.mark.parametrize("left", [0, 100])
def test_rows_that_were_not_copied_whole_count_as_missing(tmp_path: Path, left: int) -> None:
    fill(TeacherCache.open(tmp_path, IDENTITY), 0, [1, 2])
    file = tmp_path / "epoch-0000.rows"
    file.write_bytes(file.read_bytes()[:left])
    assert TeacherCache.open(tmp_path, IDENTITY, create=False).missing(0, np.arange(COUNT)).all()
    again = TeacherCache.open(tmp_path, IDENTITY)
    assert again.missing(0, np.arange(COUNT)).all()
    fill(again, 0, [2, 3])
    assert torch.equal(read(again, 0, [2, 3]), says(0, [2, 3]).half().float())
