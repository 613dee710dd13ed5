"""Reports: phones and computers apart, a page and a picture, and rows that the catalog reads."""

import tomllib

import pytest

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.bench.results.assemble import to_document
from lowzoo.bench.results.report import accuracy_of, read_groups, to_catalog
from lowzoo.bench.results.schema import Device, ModelInput
from lowzoo.cards import listing
from lowzoo.cards.model_cards import render_card
from lowzoo.catalog.entries import LatencyEntry
from lowzoo.catalog.reader import frozen
from lowzoo.cli.main import main
from tests.helpers.bench import made_result

NAME = "rob_vit_tiny.mobilenetv2_sup_tin100"
PHONE = Device(
    kind="phone",
    name="Acme <One>",
    cpu=None,
    soc="AC9000",
    cores=8,
    isa=(),
    governor=None,
    os="Android 15",
    arch="arm64",
)


def on_phone(**changes):
    return made_result(target="android", name=NAME, device=PHONE, **changes)


@pytest.fixture
def files(tmp_path):
    both = tmp_path / "both.json"
    both.write_text(to_document([made_result(name="unheard_of"), on_phone(samples=((9.0, 9.1), (9.2, 9.4)))]))
    quick = tmp_path / "phone.json"
    quick.write_text(on_phone(samples=((3.0, 3.1), (3.2, 3.4))).to_json())
    return [both, quick]


def report(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["bench", "report", *map(str, words)])
    return ended.value.code, *capsys.readouterr()


def test_phones_stand_first_and_apart(files):
    phone, computer = read_groups(files)
    assert (phone.kind, computer.kind) == ("phone", "computer")
    assert phone.title == "Acme <One>, AC9000, 8 cores, Android 15"
    assert [result.statistics.median_ms for result in phone.results] == pytest.approx([3.15, 9.15])
    task, value = accuracy_of(phone.results[0])
    assert "top-1" in task
    assert value in [metric.value for metric in catalog.find(NAME)[1].metrics]
    assert accuracy_of(computer.results[0]) is None


def test_the_text(capsys, files):
    code, text, _ = report(capsys, *files)
    assert code == 0
    assert text.index("phone: Acme <One>") < text.index("computer: chip")
    assert text.count("rob_vit_tiny ") == 2


def test_the_page_and_the_picture(capsys, files, tmp_path):
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    assert report(capsys, *files, "--out", page)[0] == 0
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "Acme &lt;One&gt;" in text
    assert "<One>" not in text.replace("&lt;One&gt;", ""), "names come from devices"
    assert text.index("<h2>Phones</h2>") < text.index("<h2>Computers</h2>")
    assert "<script" not in text
    assert report(capsys, *files, "--out", picture)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_rows_reach_list_info_and_card(capsys, tmp_path, monkeypatch):
    given = ModelInput(name="image", type="tensor(uint8)", shape=(1, 128, 128, 3), content="photograph")
    result, rows = tmp_path / "phone.json", tmp_path / "rows.toml"
    result.write_text(on_phone(samples=((3.0, 3.1), (3.2, 3.4)), input=given).to_json())
    code, text, _ = report(capsys, result, "--out", rows)
    assert code == 0
    assert "append it to lowzoo/catalog/latencies.toml" in text
    (row,) = (LatencyEntry(**frozen(table)) for table in tomllib.loads(rows.read_text())["latency"])
    assert (row.device, row.ms, row.precision, row.kind, row.size) == ("acme-one", 3.15, "float", "measured", 128)
    monkeypatch.setattr(catalog, "latencies", lambda: (row,))
    entry, weights = catalog.find(NAME)
    shown = {found.weights.tag: found.latency for found in listing.rows("acme-one") if found.entry is entry}
    assert shown[weights.tag] == row
    assert "3.15" in render_card(entry)
    with pytest.raises(SystemExit):
        main(["info", "rob_vit_tiny"])
    assert "3.15 ms, float" in capsys.readouterr().out


def test_what_the_catalog_does_not_take(files):
    with pytest.raises(LowzooError, match=r"is no phone\. Leave it out"):
        to_catalog(read_groups(files))


def test_misuse(capsys, tmp_path, files):
    assert report(capsys)[0] == 2
    for words, said in (
        ([*files, "--out", tmp_path / "report.pdf"], "cannot be written as report.pdf"),
        ([tmp_path / "none.json"], "cannot read"),
    ):
        code, text, error = report(capsys, *words)
        assert (code, text) == (2, "")
        assert said in error
