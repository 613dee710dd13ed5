"""The package's own engines: what each needs, and where it is. Nothing here imports a runtime."""

from lowzoo.bench.engines import EngineFacts

ONNXRUNTIME = EngineFacts(
    name="onnxruntime",
    prepare="lowzoo.bench.engines.ort:prepare",
    imports="onnxruntime",
    distribution="onnxruntime",
    suffix=".onnx",
    provider="CPUExecutionProvider",
    settings={"graph_optimization": "all", "execution_mode": "sequential", "inter_op_threads": "1"},
    subject="lowzoo.bench.subjects.subject:onnx_subject",
    spins=True,
)
EXECUTORCH = EngineFacts(
    name="executorch",
    prepare="lowzoo.bench.engines.executorch:prepare",
    imports="executorch",
    distribution="executorch",
    suffix=".pte",
    provider="XNNPACK",
    subject="lowzoo.bench.subjects.subject:executorch_subject",
)
LITERT = EngineFacts(
    name="litert",
    prepare="lowzoo.bench.engines.litert:prepare",
    imports="ai_edge_litert",
    distribution="ai-edge-litert",
    suffix=".tflite",
    provider="XNNPACK",
    subject="lowzoo.bench.subjects.subject:litert_subject",
)
OPENVINO = EngineFacts(
    name="openvino",
    prepare="lowzoo.bench.engines.openvino:prepare",
    imports="openvino",
    distribution="openvino",
    suffix=".xml",
    provider="CPU",
    settings={"inference_precision": "f32", "performance_hint": "LATENCY", "num_streams": "1"},
)
NCNN = EngineFacts(
    name="ncnn",
    prepare="lowzoo.bench.engines.ncnn:prepare",
    imports="ncnn",
    distribution="ncnn",
    suffix=".param",
    provider="CPU",
)
MNN = EngineFacts(
    name="mnn",
    prepare="lowzoo.bench.engines.mnn:prepare",
    imports="MNN",
    distribution="MNN",
    suffix=".mnn",
    provider="CPU",
    settings={"precision": "high", "memory": "low"},
)
TORCH = EngineFacts(
    name="torch",
    prepare="lowzoo.bench.engines.pytorch:prepare",
    imports="torch",
    distribution="torch",
    suffix="",
    provider="eager",
    settings={"memory_format": "contiguous"},
    subject="lowzoo.bench.subjects.subject:network_subject",
)
TORCH_COMPILE = EngineFacts(
    name="torch-compile",
    prepare="lowzoo.bench.engines.pytorch_compiled:prepare",
    imports="torch",
    distribution="torch",
    suffix="",
    provider="inductor",
    settings={"memory_format": "contiguous"},
    subject="lowzoo.bench.subjects.subject:network_subject",
)
