"""How an app feeds an artifact: the preparation of a picture in words, in Swift and in Kotlin."""

from lowzoo.export.metadata import shorter_side
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved


def preprocessing_text(resolved: Resolved, spec: ExportSpec) -> str:
    """The preparation in one sentence."""
    height, width = resolved.input_size[1:]
    text = (
        f"RGB; resize the shorter side to {shorter_side(resolved)} px ({resolved.interpolation}, antialiased); "
        f"crop the centre to {width} x {height} px"
    )
    if spec.input == "image":
        return f"{text}; give the values 0 to 255 as they are: the normalisation is in the graph"
    return f"{text}; divide by 255, subtract {_list(resolved.mean)}, divide by {_list(resolved.std)}; planes (3, H, W)"


def snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """Code that feeds the artifact: Swift for Core ML, else Kotlin for ONNX Runtime, ExecuTorch or LiteRT."""
    return _swift(spec) if spec.format == "coreml" else _kotlin(resolved, spec)


def _swift(spec: ExportSpec) -> str:
    if spec.input == "image":
        return (
            "let model = try VNCoreMLModel(for: MLModel(contentsOf: compiledModelURL))\n"
            "let request = VNCoreMLRequest(model: model)\n"
            "request.imageCropAndScaleOption = .centerCrop\n"
            "try VNImageRequestHandler(cgImage: photo).perform([request])\n"
            "let found = request.results  // "
            + ("[VNClassificationObservation]" if spec.classes else "[VNCoreMLFeatureValueObservation]")
        )
    return (
        "let model = try MLModel(contentsOf: compiledModelURL)\n"
        "// input: MLMultiArray (B, 3, H, W), normalised\n"
        f'let fed = try MLDictionaryFeatureProvider(dictionary: ["{spec.input_name}": input])\n'
        f'let found = try model.prediction(from: fed).featureValue(for: "{spec.output_name}")'
    )


def _kotlin(resolved: Resolved, spec: ExportSpec) -> str:
    height, width = resolved.input_size[1:]
    read = f"val pixels = IntArray({width} * {height})\nphoto.getPixels(pixels, 0, {width}, 0, 0, {width}, {height})\n"
    if spec.input == "image":
        each = (
            "for (pixel in pixels) for (shift in intArrayOf(16, 8, 0)) buffer.put((pixel shr shift).toByte())\n"
            if spec.pixels_last
            else "for (shift in intArrayOf(16, 8, 0)) for (pixel in pixels) buffer.put((pixel shr shift).toByte())\n"
        )
        fill = f"val buffer = ByteBuffer.allocateDirect(3 * {width} * {height})\n{each}buffer.rewind()\n"
    else:
        fill = (
            f"val mean = floatArrayOf({_floats(resolved.mean)})\nval std = floatArrayOf({_floats(resolved.std)})\n"
            f"val buffer = FloatBuffer.allocate(3 * {width} * {height})\n"
            "for (c in 0..2) for (pixel in pixels)\n"
            "    buffer.put((((pixel shr (16 - 8 * c)) and 255) / 255f - mean[c]) / std[c])\n"
            "buffer.rewind()\n"
        )
    sides = f"{height}, {width}, 3" if spec.pixels_last else f"3, {height}, {width}"
    return read + fill + _RUNS[spec.format](spec, sides)


def _onnx_run(spec: ExportSpec, sides: str) -> str:
    kind = ", OnnxJavaType.UINT8" if spec.input == "image" else ""
    return (
        "val environment = OrtEnvironment.getEnvironment()\n"
        "val session = environment.createSession(modelBytes)\n"
        f"val input = OnnxTensor.createTensor(environment, buffer, longArrayOf(1, {sides}){kind})\n"
        f'val found = session.run(mapOf("{spec.input_name}" to input)).use {{ it[0].value as Array<FloatArray> }}'
    )


def _executorch_run(spec: ExportSpec, sides: str) -> str:
    make = "fromBlobUnsigned" if spec.input == "image" else "fromBlob"
    return (
        "val module = Module.load(modelPath)\n"
        f"val input = Tensor.{make}(buffer, longArrayOf(1, {sides}))\n"
        "val found = module.forward(EValue.from(input))[0].toTensor().dataAsFloatArray"
    )


def _litert_run(spec: ExportSpec, sides: str) -> str:
    return (
        f"val interpreter = Interpreter(modelFile)  // input (1, {sides})\n"
        "val found = Array(1) { FloatArray(interpreter.getOutputTensor(0).shape()[1]) }\n"
        "interpreter.run(buffer, found)"
    )


_RUNS = {"onnx": _onnx_run, "executorch": _executorch_run, "litert": _litert_run}


def _list(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _floats(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}f" for value in values)
