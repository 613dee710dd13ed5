"""Extension points: entries of the package itself and of others, and what a broken or a double one costs."""

import subprocess
import sys
import warnings
from dataclasses import dataclass

import pytest

from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.base.registry import Registry
from tests.helpers.plugins import write_distribution

GROUP = "lowzoo.test_things"


@dataclass(frozen=True)
class Thing:
    name: str


OWN = Thing("own")
THING = f"from {__name__} import Thing\nTHING = Thing('{{}}')\n"


def things():
    return Registry(Thing, "thing", GROUP, {"own": f"{__name__}:OWN", "heavy": "lowzoo.no_such_module:THING"})


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def said(caught):
    return [str(warning.message) for warning in caught if issubclass(warning.category, LowzooWarning)]


def test_own_entries_are_imported_when_they_are_used():
    registry = things()
    assert registry.names() == ["own", "heavy"]
    assert registry["own"] is OWN
    assert registry.origin("own") == ""
    with pytest.raises(ModuleNotFoundError):
        registry["heavy"]


def test_a_plug_in_is_listed_without_being_imported_and_used_by_name(site):
    write_distribution(site, "lowzoo-far", {GROUP: {"far": "far_thing:THING"}}, {"far_thing.py": THING.format("far")})
    registry = things()
    assert registry.names() == ["own", "heavy", "far"]
    assert "far_thing" not in sys.modules
    assert registry["far"] == Thing("far")
    assert registry.origin("far") == "lowzoo-far 0.1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("THING = 1\n", "it gives a int, not a Thing"),
        (THING.format("other"), "its spec calls itself 'other'"),
        ("def THING(:\n", "SyntaxError"),
        ("", "AttributeError"),
    ],
)
def test_a_broken_plug_in_is_one_line_with_its_distribution_and_breaks_only_itself(site, text, reason, monkeypatch):
    write_distribution(site, "lowzoo-sick", {GROUP: {"sick": "sick_thing:THING"}}, {"sick_thing.py": text})
    monkeypatch.delitem(sys.modules, "sick_thing", raising=False)
    registry = Registry(Thing, "thing", GROUP, {"own": f"{__name__}:OWN"})
    assert registry["own"] is OWN
    with pytest.raises(LowzooError, match=r"the thing sick of lowzoo-sick 0.1 cannot be used") as refused:
        registry["sick"]
    assert reason in refused.value.message
    assert refused.value.remedy == "Update or uninstall lowzoo-sick"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert registry.specs() == [OWN]
    assert said(caught) == [str(refused.value)]


def test_a_name_of_the_package_stays_the_packages(site):
    write_distribution(site, "lowzoo-thief", {GROUP: {"own": "thief_thing:THING"}}, {})
    registry = things()
    with pytest.warns(
        LowzooWarning, match="the thing own of lowzoo-thief 0.1 is left out: lowzoo has one of that name"
    ):
        assert registry["own"] is OWN
    assert registry.names() == ["own", "heavy"]


def test_a_name_that_two_packages_claim_is_nobodys(site):
    for name in ("lowzoo-b", "lowzoo-a"):
        write_distribution(site, name, {GROUP: {"same": "same_thing:THING"}}, {})
    registry = things()
    with pytest.warns(LowzooWarning, match=r"same is declared by lowzoo-a 0.1 and lowzoo-b 0.1, and none is used"):
        assert registry.names() == ["own", "heavy"]
    with pytest.raises(LowzooError, match=r"declared by lowzoo-a 0.1 and lowzoo-b 0.1"):
        registry["same"]


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(LowzooError, match=r"unknown thing 'own1' \(near: own\). Choose one of own, heavy"):
        things()["own1"]


def test_a_process_may_add_its_own():
    registry = things()
    mine = registry.add(Thing("mine"))
    assert registry["mine"] is mine
    assert "mine" in registry
    for taken in ("mine", "own"):
        with pytest.raises(LowzooError, match=f"the thing {taken} exists already"):
            registry.add(Thing(taken))


def test_packages_installed_within_the_process_are_found_after_a_refresh(site):
    registry = things()
    assert "late" not in registry
    write_distribution(
        site, "lowzoo-late", {GROUP: {"late": "late_thing:THING"}}, {"late_thing.py": THING.format("late")}
    )
    registry.refresh()
    assert registry["late"] == Thing("late")


def test_it_imports_nothing_heavy():
    code = (
        "import sys, lowzoo.base.registry; print(sorted({'torch', 'timm', 'numpy', 'typer', 'pydantic'} & "
        "set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
