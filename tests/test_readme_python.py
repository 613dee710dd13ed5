"""The README's Python of each verb does what stands there, on a small folder of labelled pictures."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def block() -> str:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return next(text for text in blocks if "lowzoo.train.rob" in text)


def test_it_names_a_function_for_each_verb() -> None:
    for verb in ("train.rob", "evaluate.knn", "embed", "export.export", "export.check", "bench.latency"):
        assert f"lowzoo.{verb}(" in block()


@pytest.mark.slow
def test_it_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("validation", 6)):
        for number, name in enumerate(("dark", "light")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(120 * number, 120 * number + 120, (64, 64, 3), np.uint8)
                cv2.imwrite(str(tmp_path / "photos" / split / name / f"{index}.png"), pixels)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    # Two steps in place of two minutes: what a run learns is tested elsewhere.
    exec(block().replace("minutes=2", "steps=2, device='cpu'"), names)
    assert names["vectors"].shape == (24, 192)
    assert names["file"].path.is_file()
    said = capsys.readouterr().out
    assert "k-NN" in said
    assert "every bound is kept" in said
    assert "ms" in said
