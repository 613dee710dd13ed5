"""The catalog: what its reader gives, and that its facts are complete and fit each other."""

import hashlib
import importlib.util
import json
import re
from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from safetensors import safe_open

import lowzoo
from lowzoo import catalog
from lowzoo.errors import LowzooError

WEIGHTS = [(entry, weights) for entry in catalog.models().values() for weights in entry.weights]
IDS = [f"{entry.name}.{weights.tag}" for entry, weights in WEIGHTS]


def test_the_first_entries_are_there():
    assert {"rob_vit_tiny", "rob_mobilenetv3_large", "rob_resnet18"} <= set(catalog.models())
    assert {"rob_vit_tiny", "mobilenetv2_supervised", "dino_vits16", "dino_vitb16"} <= set(catalog.teachers())


def test_a_name_is_found_in_every_spelling():
    entry, weights = catalog.find("rob_vit_tiny")
    assert weights is entry.default
    assert catalog.find("lowzoo/rob_vit_tiny") == (entry, weights)
    assert catalog.find("rob_vit_tiny.dino_vits16_in1k")[1].tag == "dino_vits16_in1k"
    assert catalog.model("lowzoo/rob_vit_tiny.dino_vits16_in1k") is entry


def test_unknown_names_are_refused_with_the_near_ones():
    with pytest.raises(LowzooError, match="near: rob_vit_tiny"):
        catalog.model("rob_vit_tny")
    with pytest.raises(LowzooError, match="near: dino_vits16_in1k"):
        catalog.find("rob_vit_tiny.dino_vits16")
    with pytest.raises(LowzooError, match="near: dino_vits16") as error:
        catalog.teacher("dino_vit16")
    assert "mobilenetv2_supervised" in error.value.remedy


@pytest.mark.parametrize(("entry", "weights"), WEIGHTS, ids=IDS)
def test_facts_fit_each_other(entry, weights):
    assert entry.name == f"{entry.recipe}_{entry.student}"
    assert catalog.students()[entry.student] == entry.architecture
    assert entry.recipe in catalog.recipes()
    assert weights.origin in ("bundled", "unpublished")
    assert weights.head in ("own", "fitted")
    teacher = catalog.teacher(weights.teacher)
    assert weights.label_free == teacher.label_free, "labels that trained the teacher count"
    assert (weights.head == "fitted") == (not teacher.head_included)
    assert bool(weights.extension) == (weights.head == "fitted"), "a fitted head goes beyond the paper and is said to"
    assert len([metric for metric in weights.metrics if metric.headline]) <= 1
    if weights.origin == "bundled":
        assert weights.path.is_file()
        assert weights.license
        assert weights.derivatives is not None
    else:
        assert weights.path is None
        assert not weights.license
        assert not weights.metrics, "nobody published a figure of weights that nobody published"


@pytest.mark.parametrize("metric", [metric for _, weights in WEIGHTS for metric in weights.metrics] or [None])
def test_every_figure_names_its_source(metric):
    if metric is None:
        assert not any(weights.headline for _, weights in WEIGHTS)
        return
    assert metric.source
    assert bool(metric.script) == (metric.source == "measured here")
    assert metric.unit != "%" or 0 <= metric.value <= 100


def test_the_bundled_backbone_has_the_stated_layout():
    weights = catalog.model("rob_vit_tiny").default
    assert weights.path.stat().st_size <= 12e6
    with safe_open(weights.path, framework="numpy") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 - no mapping
        kinds = {tensors.get_slice(name).get_dtype() for name in shapes}
    assert shapes["pos_embed"] == [1, 37, 192]
    assert not any(name.startswith("head") for name in shapes)
    assert kinds == {"F16"}


@pytest.mark.parametrize("teacher", catalog.teachers().values(), ids=catalog.teachers())
def test_a_teacher_can_be_found_and_credited(teacher):
    places = [bool(teacher.model), bool(teacher.url), bool(teacher.package)]
    assert sum(places) == 1, "exactly one place to get it from"
    assert teacher.license
    assert teacher.training
    assert teacher.source
    assert all(metric.source for metric in teacher.metrics)
    if teacher.model:
        entry, weights = catalog.find(teacher.model)
        assert (entry.architecture, entry.feature_dim) == (teacher.architecture, teacher.feature_dim)
        assert (weights.input_size, weights.label_free) == (teacher.input_size, teacher.label_free)
        assert weights.head_file
    if teacher.package:
        assert re.fullmatch(r"[\w-]+==[\d.]+", teacher.package)
        assert re.fullmatch(r"[0-9a-f]{64}", teacher.sha256)
    assert teacher.head_included == (teacher.family != "mobilenetv2_flat")
    if teacher.name.startswith("dino_vit"):
        assert (teacher.head_dim, teacher.bottleneck_dim) == (65536, 256)
    if teacher.url:
        assert not urlsplit(teacher.url).query, "a signature is nobody's to repeat"
        assert teacher.page
        assert teacher.file
        assert teacher.url.endswith(teacher.file)
        assert teacher.citation
    if "NC" in teacher.license:
        assert teacher.derivatives_may_be_published


def test_the_catalog_holds_the_teachers_of_all_recipes():
    families = {
        "dino": ["vits16", "vits8", "vitb16", "vitb8", "r50"],
        "swav": ["r50", "r50w2", "r50w4"],
        "msn": ["vits16", "vitb16", "vitb4", "vitl16", "vitl7"],
        "ibot": ["vits16", "vitb16", "vitl16"],
    }
    wanted = {f"{family}_{name}" for family, names in families.items() for name in names}
    assert wanted | {"moco_v2_r50", "moco_v2_r50_200", "simclr_r50"} <= set(catalog.teachers())
    assert len({teacher.download_name for teacher in catalog.teachers().values() if teacher.url}) == 19


def test_the_packaged_teacher_is_the_file_that_was_catalogued():
    teacher = catalog.teacher("mobilenetv2_supervised")
    spec = importlib.util.find_spec(teacher.package_module)
    if spec is None:
        pytest.skip(f"{teacher.package} is not installed")
    file = files(teacher.package_module).joinpath(teacher.package_path)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == teacher.sha256


def test_students_of_a_recipe():
    assert catalog.student_architecture("vit_tiny", "rob") == "vit_tiny_patch16_224"
    assert catalog.student_architecture("mobilenetv3_large", "rob") == "rob_mobilenetv3_large"
    assert catalog.student_architecture("resnet18", "rob") == "resnet18"
    assert catalog.student_architecture("convnext_atto", "rob") == "convnext_atto"


def test_descriptions_are_plain_and_leave_out_what_is_not_known():
    facts = lowzoo.model_info("rob_vit_tiny.dino_vits16_in1k")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["id"] == "rob_vit_tiny.dino_vits16_in1k"
    assert facts["default"] is False
    assert facts["weights"]["available"] is False
    assert "license" not in facts["weights"]
    assert "metrics" not in facts["weights"]
    assert facts["teacher"]["license"] == "Apache-2.0"
    assert facts["recipe"]["arxiv"] == "2301.09451"


def test_listing_by_wildcard():
    assert lowzoo.list_models("rob_resnet*") == ["rob_resnet18.dino_vits16_in1k"]
    assert lowzoo.list_models("*.dino_vitb16_in1k") == ["rob_vit_tiny.dino_vitb16_in1k"]
    assert lowzoo.list_models(pretrained=True) == ["rob_vit_tiny.mobilenetv2_sup_tin100"]
    assert lowzoo.list_models("nothing*") == []
    assert lowzoo.list_models() == IDS
