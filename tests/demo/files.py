"""A small ONNX file that a page can be taught on, and what it becomes when it was taught, made by the onnx package."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lowzoo.export.artifacts.seal import SEAL, UNSEALED, seal
from lowzoo.export.network.prototypes import INITIALISER, MEANING, PROTOTYPES, SIMILARITY, UNIT_FEATURES, digest

SIDE = 8


def features_file(path, shape=(1, SIDE, SIDE, 3), element=TensorProto.UINT8, outputs=1, notes=()):
    """A graph that takes one picture and gives the mean colours of its first two rows: (1, 6)."""
    taken = [helper.make_tensor_value_info("image", element, shape)]
    names = ["features", *(f"more{i}" for i in range(1, outputs))]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], 6]) for name in names]
    sizes = numpy_helper.from_array(np.array([shape[0], 6], np.int64), "sizes")
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["rows"], keepdims=0, axes=[2]),
        helper.make_node("Slice", ["rows", "from", "to"], ["two"]),
        *(helper.make_node("Reshape", ["two", "sizes"], [name]) for name in names),
    ]
    bounds = [
        numpy_helper.from_array(np.array([0, 0, 0], np.int64), "from"),
        numpy_helper.from_array(np.array([shape[0], 2, 3], np.int64), "to"),
    ]
    graph = helper.make_graph(nodes, "rows", taken, given, [sizes, *bounds])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    preprocessing = {
        "crop_mode": "center",
        "crop_pct": 0.9,
        "resize": {"shorter_side": 8, "interpolation": "bicubic"},
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "normalised_in_graph": True,
    }
    said = {
        "lowzoo.model": "rows.tag",
        "lowzoo.revision": "sha256:abc",
        "lowzoo.precision": "fp32",
        "lowzoo.source": json.dumps({"model": "rows"}),
        "lowzoo.settings": "sha256:123",
        SEAL: UNSEALED,
        "lowzoo.output": json.dumps({"name": "features"}),
        "lowzoo.preprocessing": json.dumps(preprocessing),
    } | dict(notes)
    helper.set_model_props(model, {key: value for key, value in said.items() if value is not None})
    onnx.save(model, path)
    seal(path)
    return path


def taught(path, names, prototypes_DK, pictures, batch=1):
    """What the page makes of a file, as a message; for every other test than that of the page's own bytes."""
    model = onnx.load(path)
    graph = model.graph
    features = graph.output[0]
    graph.value_info.append(features)
    dimensions, things = prototypes_DK.shape
    raw = np.ascontiguousarray(prototypes_DK, "<f4").tobytes()
    graph.node.append(
        helper.make_node("LpNormalization", [features.name], [UNIT_FEATURES], name=UNIT_FEATURES, axis=1, p=2)
    )
    graph.node.append(helper.make_node("MatMul", [UNIT_FEATURES, INITIALISER], [SIMILARITY], name=SIMILARITY))
    graph.initializer.append(helper.make_tensor(INITIALISER, TensorProto.FLOAT, [dimensions, things], raw, raw=True))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(SIMILARITY, TensorProto.FLOAT, [batch, things], MEANING))
    said = {note.key: note.value for note in model.metadata_props}
    source = json.loads(said.pop("lowzoo.source")) | {
        "head": PROTOTYPES,
        "head_sha256": digest(np.asarray(prototypes_DK)),
    }
    # What is taught is another export, and its bytes are others.
    said.pop("lowzoo.settings")
    said.pop(SEAL)
    said |= {
        "lowzoo.output": json.dumps({"name": SIMILARITY, "type": "float32", "layout": "BD", "meaning": MEANING}),
        "lowzoo.source": json.dumps(source),
        "lowzoo.classes": json.dumps(names),
        "lowzoo.taught": json.dumps({"pictures": pictures}),
    }
    del model.metadata_props[:]
    helper.set_model_props(model, said)
    return model


def unit_columns(dimensions, things, seed=0):
    """Some prototypes (D, K)."""
    made = np.random.default_rng(seed).normal(size=(dimensions, things))
    return (made / np.linalg.norm(made, axis=0)).astype(np.float32)
