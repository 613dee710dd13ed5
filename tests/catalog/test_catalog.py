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
from lowzoo.base.errors import LowzooError

WEIGHTS = [(entry, weights) for entry in catalog.models().values() for weights in entry.weights]
IDS = [f"{entry.name}.{weights.tag}" for entry, weights in WEIGHTS]


def test_the_recipes_entries_are_there():
    names = set(catalog.models())
    students = {
        "rob": ["vit_tiny", "vit_small", "mobilenetv3_large", "resnet18", "resnet34", "resnet50", "regnety_8gf"],
        "sslight_dino": ["vit_tiny", "resnet18", "resnet34", "mobilenetv2"],
        "sslight_swav": ["mobilenetv2"],
        "sslight_moco": ["mobilenetv2"],
        "seed": ["resnet18", "mobilenetv3_large", "efficientnet_b0", "efficientnet_b1", "resnet50"],
    }
    assert names == {f"{recipe}_{student}" for recipe, several in students.items() for student in several}
    assert {"rob_vit_tiny", "mobilenetv2_supervised", "dino_vits16", "dino_vitb16"} <= set(catalog.teachers())


def test_every_published_checkpoint_is_listed():
    published = {name for name, (_, weights) in zip(IDS, WEIGHTS, strict=True) if weights.origin == "published"}
    assert len([name for name in published if name.startswith("sslight_")]) == 12
    assert len([name for name in published if name.startswith("seed_")]) == 7
    wrong = catalog.find("seed_efficientnet_b1.swav_r50_200ep")[1]
    assert (wrong.origin, wrong.available) == ("unavailable", False)
    assert "ResNet-18" in wrong.unavailable_reason
    for model in ("sslight_dino_resnet18", "sslight_moco_mobilenetv2"):
        assert catalog.model(model).tags == ("sslight_in1k", "baseline_in1k")


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
    assert entry.name == "_".join(filter(None, (entry.recipe, entry.method, entry.student)))
    assert entry.architecture.removeprefix("tf_") == catalog.students()[entry.student]
    assert entry.recipe in catalog.recipes()
    assert weights.head in ("own", "fitted", "none")
    if weights.teacher:
        teacher = catalog.teacher(weights.teacher)
        assert weights.label_free == teacher.label_free, "labels that trained the teacher count"
        assert (weights.head == "fitted") == (not teacher.head_included)
    else:
        assert entry.recipe == "sslight" or weights.teacher_note
    assert (weights.head == "none") == (entry.recipe == "sslight")
    assert bool(weights.extension) == (weights.head == "fitted"), "a fitted head goes beyond the paper and is said to"
    assert len([metric for metric in weights.metrics if metric.headline]) <= 1
    assert bool(weights.license) == weights.available
    assert (weights.derivatives is not None) or not weights.available
    if weights.origin == "bundled":
        assert weights.path.is_file()
    elif weights.origin == "published":
        assert weights.checkpoint
        assert weights.family
        assert weights.branch
        assert weights.page
        assert bool(weights.repo) != bool(weights.url)
        assert re.fullmatch(r"([0-9a-f]{40})?", weights.revision)
        assert bool(weights.revision) == bool(weights.repo), "a repository is pinned"
        assert re.fullmatch(r"(sha256:[0-9a-f]{16,64})?", weights.digest)
    else:
        assert weights.origin in ("unpublished", "unavailable")
        assert (weights.origin == "unavailable") == bool(weights.unavailable_reason)
        assert weights.path is None
        assert weights.train
        assert not weights.metrics, "nobody published a figure of weights that nobody published"


def test_addresses_are_shown_without_their_signatures():
    weights = catalog.model("seed_resnet18").default
    assert "sig=" in weights.url
    assert weights.address == weights.url.partition("?")[0]
    assert "sig=" not in json.dumps(catalog.describe("seed_resnet18"))


@pytest.mark.parametrize("device", sorted({row.device for row in catalog.latencies()}))
def test_latencies_name_device_protocol_and_source(device):
    for row in catalog.latencies():
        if row.device == device:
            assert row.ms > 0
            assert row.protocol
            assert row.source
            assert (row.kind == "reference") == (row.source != "measured here")


@pytest.mark.parametrize("metric", [metric for _, weights in WEIGHTS for metric in weights.metrics] or [None])
def test_every_figure_names_its_source(metric):
    if metric is None:
        assert not any(weights.headline for _, weights in WEIGHTS)
        return
    assert metric.source
    assert bool(metric.script) == (metric.source == "measured here")
    assert metric.unit != "%" or 0 <= metric.value <= 100


def test_the_two_coco_figures_of_sslight_come_from_two_networks():
    """Boxes from a run without the mask branch, masks from another with it; neither syncs norms beyond the backbone."""
    found = {"box detection": [], "instance segmentation": []}
    for name, (_, weights) in zip(IDS, WEIGHTS, strict=True):
        for metric in weights.metrics:
            if metric.task in found:
                found[metric.task].append((name, metric.protocol))
    for task, network in (("box detection", "Faster R-CNN"), ("instance segmentation", "Mask R-CNN")):
        assert len(found[task]) == 6
        for name, protocol in found[task]:
            assert name.startswith("sslight_dino_")
            assert protocol.startswith(f"{network} with FPN")
            assert "SyncBN in the backbone alone" in protocol
            assert ("strides 16 and 32" in protocol) == ("mobilenetv2" in name)


@pytest.mark.parametrize(
    ("name", "most", "tensor", "shape"),
    [
        ("rob_vit_tiny", 12e6, "pos_embed", [1, 65, 192]),
        ("rob_mobilenetv3_large", 7e6, "blocks.6.0.conv.weight", [960, 160, 1, 1]),
    ],
)
def test_the_bundled_backbones_have_the_stated_layout(name, most, tensor, shape):
    weights = catalog.model(name).default
    assert weights.path.stat().st_size <= most
    with safe_open(weights.path, framework="numpy") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 - no mapping
        kinds = {tensors.get_slice(name).get_dtype() for name in shapes}
    assert shapes[tensor] == shape
    assert not any(name.startswith(("head", "classifier", "conv_head")) for name in shapes)
    assert kinds <= {"F16", "I64"}


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
    assert catalog.student_architecture("efficientnet_b0", "seed") == "seed_efficientnet_b0"
    assert catalog.student_architecture("mobilenetv2", "sslight") == "mobilenetv2_100"


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
    assert lowzoo.list_models("seed_mobile*") == ["seed_mobilenetv3_large.moco_v2_r50_200ep"]
    assert lowzoo.list_models("*.msn_vitl7_in1k") == [
        "rob_vit_tiny.msn_vitl7_in1k",
        "rob_vit_small.msn_vitl7_in1k",
        "rob_resnet18.msn_vitl7_in1k",
    ]
    assert lowzoo.list_models("rob_*", pretrained=True) == [
        "rob_vit_tiny.mobilenetv2_sup_tin100",
        "rob_mobilenetv3_large.mobilenetv2_sup_tin100",
    ]
    assert len(lowzoo.list_models(pretrained=True)) == 21
    assert lowzoo.list_models("nothing*") == []
    assert lowzoo.list_models() == IDS


def test_a_network_of_equal_cost_shares_its_latencies():
    told = lowzoo.model_info("seed_efficientnet_b0")["latencies"]
    assert len(told) == len(catalog.latencies_of(catalog.model("seed_efficientnet_b0"))) > 0
    assert {row["architecture"] for row in told} == {"efficientnet_b0"}


def test_sslights_twelve_detection_figures_are_published_ones():
    wanted = {
        ("sslight_dino_resnet18", "baseline_in1k"): (32.7, 30.6),
        ("sslight_dino_resnet18", "sslight_in1k"): (34.1, 31.8),
        ("sslight_dino_resnet34", "baseline_in1k"): (37.6, 34.6),
        ("sslight_dino_resnet34", "sslight_in1k"): (38.6, 35.5),
        ("sslight_dino_mobilenetv2", "baseline_in1k"): (30.9, 28.1),
        ("sslight_dino_mobilenetv2", "sslight_in1k"): (32.1, 29.1),
    }
    for (name, tag), figures in wanted.items():
        metrics = {metric.task: metric for metric in catalog.find(f"{name}.{tag}")[1].metrics}
        for task, value in zip(("box detection", "instance segmentation"), figures, strict=True):
            assert (metrics[task].value, metrics[task].unit, metrics[task].data) == (value, "AP", "COCO")
            assert metrics[task].source != "measured here"
