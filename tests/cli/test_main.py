"""The command line's entry: what stays unimported, what an error looks like, and the commands list, info and cards."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.cards import model_cards, readme_table
from lowzoo.cli import main as cli
from tests.helpers.cli import runner

# Not pydantic: newer releases of typer check the values of options with it themselves.
HEAVY = {"torch", "timm", "numpy", "cv2", "rich", "huggingface_hub", "onnxruntime"}


run = runner()


@pytest.mark.parametrize("words", [["--help"], ["list"], ["list", "--json"], ["info", "rob_vit_tiny"], ["--version"]])
def test_light_commands_import_nothing_heavy(words):
    code = (
        "import json, sys\n"
        "from lowzoo.cli.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as end: status = end.code\n"
        "print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stderr)
    assert status == 0
    assert done.stdout
    assert not HEAVY & set(modules)
    assert words != ["--help"] or "pydantic" not in modules


def test_the_installed_command_runs():
    done = subprocess.run(
        [shutil.which("lowzoo", path=sysconfig.get_path("scripts")), "list"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "rob_vit_tiny.mobilenetv2_sup_tin100" in done.stdout


@pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_closed_pipe_ends_quietly(options, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    code = "from lowzoo.cli.main import main; main(['list'])"
    reader = subprocess.Popen(
        [sys.executable, *options, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    reader.stdout.close()
    assert reader.stderr.read() == ""
    assert reader.wait() == 1


@pytest.mark.parametrize("words", [[], ["train"], ["eval"]])
def test_the_help_of_a_narrow_terminal_cuts_no_sentence(monkeypatch, capsys, words):
    monkeypatch.setenv("COLUMNS", "60")
    _, shown, _ = run(capsys, *words, "--help")
    assert "..." not in shown.split("Commands:")[1]
    if not words:
        told = " ".join(shown.split())
        assert "in under two minutes." in told
        assert "packages that add to lowzoo." in told


def test_no_words_show_the_help(capsys):
    status, out, err = run(capsys)
    assert (status, err) == (0, "")
    for command in ("list", "info", "cards"):
        assert f"  {command} " in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "nonsense"),
        (["list", "--nonsense"], "--nonsense"),
        (["list", "--max-params", "many"], "--max-params"),
        (["list", "--max-params", "-1"], "--max-params"),
        (["info"], "MODEL"),
        (["info", "rob_vit_tny"], "unknown model rob_vit_tny (near: rob_vit_tiny"),
        (["list", "--recipe", "rib"], "unknown recipe rib"),
        (["list", "--student", "vit_tny"], "(near: vit_tiny"),
        (["list", "--sort", "luck"], "unknown sort key luck"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, words, message):
    status, out, err = run(capsys, *words)
    assert status == 2
    assert out == ""
    assert err.startswith("lowzoo: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_debug_shows_the_traceback_wherever_it_stands():
    for words in (["--debug", "info", "nothing"], ["info", "nothing", "--debug"]):
        with pytest.raises(LowzooError):
            cli.main(words)


def test_an_interruption_is_one_line_and_status_130(capsys, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog, "models", interrupt)
    status, _, err = run(capsys, "list")
    assert (status, err) == (130, "lowzoo: interrupted\n")


def test_version(capsys):
    status, out, _ = run(capsys, "--version")
    assert status == 0
    assert out.startswith("lowzoo ")


@pytest.mark.parametrize("words", [[], ["--all"], ["--on", "galaxy-s25"], ["--sort", "linear"]])
def test_the_table_fits_80_columns_and_has_every_entry(capsys, words):
    status, out, _ = run(capsys, "list", *words)
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    for entry in catalog.models().values():
        for weights in entry.weights:
            if weights.origin == "unpublished" and "--all" not in words:
                count = sum(other.origin == "unpublished" for other in entry.weights)
                assert f"\n{entry.name} ({count} sets)" in out
                continue
            line = next(line for line in out.splitlines() if line.startswith(f"{entry.name}.{weights.tag} "))
            assert line.endswith(weights.license or ("no file" if weights.origin == "unavailable" else "to train"))
            assert f" {weights.input_size[1]} " in line
    assert " 43.9* " in out, "a figure on other images is told apart"


def test_latencies_are_of_one_device_and_a_limit_needs_one(capsys):
    _, out, _ = run(capsys, "list", "--on", "galaxy-s25", "--max-ms", "0.5", "--sort", "ms")
    lines = [line.split() for line in out.splitlines() if line.startswith(("rob_", "seed_", "sslight_"))]
    assert {line[0].split(".")[0].rpartition("_")[2] for line in lines} == {"mobilenetv2", "large"}
    # Rows of several sets have their number in place of the tag, so the column is found by its unit.
    assert {word for line in lines for word in line if word.startswith("0.") and len(word) == 5} == {"0.335", "0.401"}
    assert "published by others" in out
    status, _, err = run(capsys, "list", "--max-ms", "5")
    assert status == 2
    assert "Add --on DEVICE" in err
    assert "galaxy-s25" in err


def test_a_plot_is_drawn(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    status, _, err = run(capsys, "list", "--plot", str(tmp_path / "zoo.png"))
    assert (status, err) == (0, f"lowzoo: wrote {tmp_path / 'zoo.png'}\n")
    assert (tmp_path / "zoo.png").read_bytes().startswith(b"\x89PNG")
    assert run(capsys, "list", "--plot", str(tmp_path / "phone.png"), "--on", "galaxy-s25")[0] == 0
    assert run(capsys, "list", "--plot", str(tmp_path / "no.png"), "--recipe", "rob")[0] == 2
    assert run(capsys, "list", "--plot", str(tmp_path / "no.such"))[0] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"zoo.png", "phone.png"}


def _names(capsys, *words):
    status, out, _ = run(capsys, "list", "--json", *words)
    assert status == 0
    return [row["id"] for row in json.loads(out)]


def test_filters_and_sorting(capsys):
    everything = _names(capsys)
    assert everything == [f"{entry.name}.{tag}" for entry in catalog.models().values() for tag in entry.tags]
    assert _names(capsys, "--recipe", "seed") == [name for name in everything if name.startswith("seed_")]
    assert _names(capsys, "--student", "efficientnet_b0") == [n for n in everything if "efficientnet_b0" in n]
    assert _names(capsys, "--student", "vit_tiny_patch16_224") == [n for n in everything if "vit_tiny" in n]
    assert {name.partition("_")[0] for name in _names(capsys, "--license", "apache-2.0")} == {"rob", "sslight"}
    assert all("mobilenet" in name for name in _names(capsys, "--max-params", "3"))
    by_params = _names(capsys, "--sort", "params")
    assert by_params[0].endswith("mobilenetv2.sslight_in1k")
    assert by_params[-1].startswith("rob_regnety_8gf")
    assert _names(capsys, "--sort", "name") == sorted(everything)
    assert _names(capsys, "--sort", "linear")[0] == "seed_resnet50.swav_r50w4_400ep"
    assert _names(capsys, "--sort", "knn")[:3] == [
        "seed_resnet18.moco_v2_r50_200ep",
        "rob_mobilenetv3_large.mobilenetv2_sup_tin100",
        "rob_vit_tiny.mobilenetv2_sup_tin100",
    ], "figures on other images than ImageNet stand after those on it"


def test_no_match_is_told_apart_from_an_error(capsys):
    status, out, err = run(capsys, "list", "--max-params", "0.1")
    assert (status, out) == (0, "")
    assert "no model matches" in err
    assert _names(capsys, "--max-params", "0.1") == []


def test_info_tells_what_the_weights_are(capsys):
    _, out, _ = run(capsys, "info", "rob_vit_tiny")
    assert '    model = timm.create_model("lowzoo/rob_vit_tiny", pretrained=True)\n' in out
    for fact in ("not label-free", "supervised, ImageNet-1k", "fitted", "50,000 photographs", "Apache-2.0"):
        assert fact in out
    _, out, _ = run(capsys, "info", "lowzoo/rob_vit_tiny.dino_vits16_in1k")
    assert "    lowzoo train rob --preset rob_dino --student vit_tiny --teacher dino_vits16 --data DIR\n" in out
    assert "not published" in out
    assert "pretrained=True" not in out
    _, out, _ = run(capsys, "info", "sslight_dino_resnet18")
    for fact in ("Apache-2.0", "65.7 %", "dino_r18_sslight.pth.tar", "module.student.backbone", "galaxy-s25"):
        assert fact in out
    assert "teacher       none" in out
    _, out, _ = run(capsys, "info", "seed_efficientnet_b1.swav_r50_200ep")
    assert "cannot be had: the authors' page links" in out
    assert "needs lowzoo" in out


def test_info_as_json_is_the_catalogs_description(capsys):
    _, out, _ = run(capsys, "info", "rob_vit_tiny", "--json")
    told = json.loads(out)
    # What is known of the family's exports is the command's own line.
    assert told.pop("exports")["family"] == "vision_transformer"
    assert told == catalog.describe("rob_vit_tiny")


def test_cards_are_written_and_checked(capsys, tmp_path):
    folder = tmp_path / "cards"
    assert run(capsys, "cards", "--check", "--out", str(folder))[0] == 1
    assert not folder.exists()
    assert run(capsys, "cards", "--out", str(folder))[0] == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == model_cards.render_cards()
    assert run(capsys, "cards", "--check", "--out", str(folder))[0] == 0
    (folder / "rob_vit_tiny.md").write_text("edited by hand")
    status, out, _ = run(capsys, "cards", "--check", "--out", str(folder))
    assert status == 1
    assert "rob_vit_tiny.md is stale" in out
    (folder / "nobody.md").write_text("x")
    assert "nobody.md belongs to no model" in run(capsys, "cards", "--check", "--out", str(folder))[1]


def test_the_readme_has_the_catalogs_table(capsys, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{readme_table.BEGIN}\nold\n{readme_table.END}\nafter\n")
    words = ["cards", "--out", str(tmp_path / "cards")]
    assert run(capsys, *words)[0] == 0
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| [`seed_resnet50`](model_cards/seed_resnet50.md) | 23.5 | 4.09 | 224 |  | 74.3 | MIT |" in text
    assert "\nold\n" not in text
    assert run(capsys, *words, "--check")[0] == 0
    readme.write_text(text.replace("74.3", "75.3"))
    status, out, _ = run(capsys, *words, "--check")
    assert (status, "README.md is stale" in out) == (1, True)
    readme.write_text("no marks")
    assert "has no marks for the table" in run(capsys, *words)[2]


def test_the_readme_in_the_repository_is_current():
    text = Path(__file__).parents[1].with_name("README.md").read_text(encoding="utf-8")
    assert readme_table.with_table(text, "README.md") == text, "run `lowzoo cards`"


def test_cards_name_a_place_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, "cards", "--out", str(tmp_path / "file"))
    assert status == 2
    assert err.startswith("lowzoo: error: cannot write to the folder")


@pytest.mark.parametrize("words", [["check", "x" * 300], ["info", f"{'x' * 300}.onnx"]])
def test_a_name_that_no_file_can_have_is_one_line(words, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(words)
    assert error.value.code == 2
    said = capsys.readouterr().err
    assert "File name too long" in said
    assert said.count("\n") == 1
