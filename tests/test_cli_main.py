"""The command line's entry: what stays unimported, what an error looks like, and the commands list, info and cards."""

import json
import shutil
import subprocess
import sys
import sysconfig

import pytest

from lowzoo import cards, catalog
from lowzoo.cli import main as cli
from lowzoo.errors import LowzooError

# Not pydantic: newer releases of typer check the values of options with it themselves.
HEAVY = {"torch", "timm", "numpy", "cv2", "rich", "huggingface_hub", "onnxruntime"}


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    out, err = capsys.readouterr()
    return end.value.code, out, err


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
        (["info", "rob_vit_tny"], "unknown model rob_vit_tny (near: rob_vit_tiny)"),
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


def test_the_table_fits_80_columns_and_has_every_entry(capsys):
    status, out, _ = run(capsys, "list")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    for entry in catalog.models().values():
        for weights in entry.weights:
            line = next(line for line in out.splitlines() if line.startswith(f"{entry.name}.{weights.tag} "))
            assert ("bundled" in line) == weights.available
            assert f" {weights.input_size[1]} " in line


def _names(capsys, *words):
    status, out, _ = run(capsys, "list", "--json", *words)
    assert status == 0
    return [row["id"] for row in json.loads(out)]


def test_filters_and_sorting(capsys):
    everything = _names(capsys)
    assert everything == [f"{entry.name}.{tag}" for entry in catalog.models().values() for tag in entry.tags]
    assert _names(capsys, "--recipe", "rob") == everything
    assert _names(capsys, "--student", "resnet18") == ["rob_resnet18.dino_vits16_in1k"]
    assert _names(capsys, "--student", "vit_tiny_patch16_224") == [n for n in everything if "vit_tiny" in n]
    assert _names(capsys, "--license", "apache-2.0") == ["rob_vit_tiny.mobilenetv2_sup_tin100"]
    assert _names(capsys, "--max-params", "3") == ["rob_mobilenetv3_large.dino_vits16_in1k"]
    by_params = _names(capsys, "--sort", "params")
    assert by_params[0].startswith("rob_mobilenetv3_large")
    assert by_params[-1].startswith("rob_resnet18")
    assert _names(capsys, "--sort", "name") == sorted(everything)
    assert _names(capsys, "--sort", "knn")[0] == "rob_vit_tiny.mobilenetv2_sup_tin100"


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
    assert "    lowzoo train rob --student vit_tiny --teacher dino_vits16 --data DIR\n" in out
    assert "not published" in out
    assert "pretrained=True" not in out


def test_info_as_json_is_the_catalogs_description(capsys):
    _, out, _ = run(capsys, "info", "rob_vit_tiny", "--json")
    assert json.loads(out) == catalog.describe("rob_vit_tiny")


def test_cards_are_written_and_checked(capsys, tmp_path):
    folder = tmp_path / "cards"
    assert run(capsys, "cards", "--check", "--out", str(folder))[0] == 1
    assert not folder.exists()
    assert run(capsys, "cards", "--out", str(folder))[0] == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == cards.render_cards()
    assert run(capsys, "cards", "--check", "--out", str(folder))[0] == 0
    (folder / "rob_vit_tiny.md").write_text("edited by hand")
    status, out, _ = run(capsys, "cards", "--check", "--out", str(folder))
    assert status == 1
    assert "rob_vit_tiny.md is stale" in out
    (folder / "nobody.md").write_text("x")
    assert "nobody.md belongs to no model" in run(capsys, "cards", "--check", "--out", str(folder))[1]


def test_cards_name_a_place_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, "cards", "--out", str(tmp_path / "file"))
    assert status == 2
    assert err.startswith("lowzoo: error: cannot write to the folder")
