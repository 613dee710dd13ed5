"""LiteRT (TensorFlow Lite), for Android apps."""

from lowzoo.export.formats import Format

FORMAT = Format(
    name="litert",
    title="LiteRT",
    suffix=".tflite",
    precisions=("fp32", "fp16", "int8", "int8-dynamic"),
    writer="lowzoo.export.litert:write_litert",
    loader="lowzoo.export.litert:open_litert",
    noter="lowzoo.export.litert:notes_of_litert",
    extra="litert",
    calibrated=("int8",),
    whole=dict.fromkeys(("fp32", "fp16", "int8", "int8-dynamic"), "a LiteRT file"),
    snippet="lowzoo.export.recipes:litert_snippet",
    system=lambda spec: "XNNPACK",
)
