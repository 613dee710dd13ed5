"""LiteRT (TensorFlow Lite), for Android apps."""

from lowzoo.export.formats import Format

FORMAT = Format(
    name="litert",
    title="LiteRT",
    suffix=".tflite",
    precisions=("fp32", "fp16", "int8", "int8-dynamic"),
    writer="lowzoo.export.formats.litert.writer:write_litert",
    loader="lowzoo.export.formats.litert.writer:open_litert",
    noter="lowzoo.export.formats.litert.writer:notes_of_litert",
    extra="litert",
    needs=("litert-torch",),
    calibrated=("int8",),
    whole=dict.fromkeys(("fp32", "fp16", "int8", "int8-dynamic"), "a LiteRT file"),
    snippet="lowzoo.export.artifacts.feeding:litert_snippet",
    system=lambda spec: "XNNPACK",
)
