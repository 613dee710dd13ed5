"""How an app feeds an artifact: the preparation of a picture in words, in Swift, in Kotlin and in JavaScript.

The code draws the whole picture, scaled, onto a canvas of the input's size, where evaluation places it: one rule for
all crop modes. Scaling is left to the platform, whose filters are not PIL's to the last bit.
"""

from collections.abc import Callable

from lowzoo.export.artifacts import drawing
from lowzoo.export.artifacts.metadata import colour
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.preprocess.framing import border_colour, by_shorter_side, may_have_border, target_size
from lowzoo.zoo.resolve import FeatureMap, Resolved

# Takes the spec, the sides of the input and the feature maps.
_Run = Callable[[ExportSpec, str, tuple[FeatureMap, ...]], str]
# ITU-R 601 in 16 bits, as PIL makes grey of colours.
_LUMA = (19595, 38470, 7471)


def preprocessing_text(resolved: Resolved, spec: ExportSpec) -> str:
    """The preparation in one sentence."""
    channels, height, width = resolved.input_size
    text = f"{colour(resolved)}; {_resize_text(resolved)}; crop the centre to {width} x {height} px"
    text += "" if height == width else " (width x height)"
    if may_have_border(resolved):
        border = border_colour(resolved)
        text += f"; what the picture leaves free is {', '.join(map(str, border)) if any(border) else 'black'}"
    if spec.input == "image":
        return f"{text}; give the values 0 to 255 as they are: the normalisation is in the graph"
    planes = f"planes ({channels}, H, W)"
    return f"{text}; divide by 255, subtract {_list(resolved.mean)}, divide by {_list(resolved.std)}; {planes}"


def snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """Code that feeds the artifact one picture, in the languages of the format's platforms; empty if it has none."""
    code: str = spec.kind.call("snippet", resolved, spec) or ""
    many = spec.batch not in (1, "dynamic") and code
    return f"// One picture of the {spec.batch} that the file takes.\n{code}" if many else code


def onnx_snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """Kotlin and JavaScript, for onnxruntime."""
    return f"// Kotlin\n{_kotlin(resolved, spec, _onnx_run)}\n\n// JavaScript\n{_javascript(resolved, spec)}"


def executorch_snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """Kotlin, or Swift where Core ML does the work."""
    if spec.core_ml_delegate:
        return _swift_executorch(resolved, spec)
    return _kotlin(resolved, spec, _executorch_run)


def litert_snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """Kotlin, for LiteRT's interpreter."""
    return _kotlin(resolved, spec, _litert_run)


def _resize_text(resolved: Resolved) -> str:
    height, width = target_size(resolved)
    how = resolved.interpolation if resolved.interpolation == "nearest" else f"{resolved.interpolation}, antialiased"
    if by_shorter_side(resolved):
        return f"resize the shorter side to {height} px ({how})"
    box = f"{width} x {height} px ({how})"
    if resolved.crop_mode == "squash":
        return f"resize to {box}, whatever the proportions"
    return (
        f"resize, keeping the proportions, until it {'fits into' if resolved.crop_mode == 'border' else 'covers'} {box}"
    )


def from_a_photo(resolved: Resolved) -> bool:
    """Whether a photograph has the channels: no platform's picture has others."""
    return resolved.input_size[0] in (1, 3)


def coreml_snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """Swift, for Core ML by way of Vision where the input is an image."""
    channels, height, width = resolved.input_size
    if spec.input == "image":
        return (
            f"{drawing.swift(resolved)}"
            "let model = try VNCoreMLModel(for: MLModel(contentsOf: compiledModelURL))\n"
            "let request = VNCoreMLRequest(model: model)\n"
            "request.imageCropAndScaleOption = .scaleFill  // it has the input's size already\n"
            "try VNImageRequestHandler(cgImage: context.makeImage()!).perform([request])\n"
            f"{_vision_results(resolved, spec)}"
        )
    made = f"let input = try MLMultiArray(shape: [1, {channels}, {height}, {width}], dataType: .float32)\n"
    value = (
        f"Float(({' + '.join(f'{part} * Int(bytes[4 * i + {c}])' for c, part in enumerate(_LUMA))} + 32768) >> 16)"
        if channels == 1
        else "Float(bytes[4 * i + c])"
    )
    filled = (
        f"{drawing.swift(resolved)}"
        "let bytes = context.data!.assumingMemoryBound(to: UInt8.self)\n"
        f"{made}"
        "let values = input.dataPointer.assumingMemoryBound(to: Float.self)\n"
        f"let mean: [Float] = [{_numbers(resolved.mean)}], std: [Float] = [{_numbers(resolved.std)}]\n"
        f"for c in 0..<{channels} {{ for i in 0..<({width} * {height}) {{\n"
        f"    values[c * {width} * {height} + i] = ({value} / 255 - mean[c]) / std[c]\n"
        "} }\n"
        if from_a_photo(resolved)
        else f"{made}// Fill it with the {channels} channels, normalised.\n"
    )
    return (
        f"{filled}"
        "let model = try MLModel(contentsOf: compiledModelURL)\n"
        f'let fed = try MLDictionaryFeatureProvider(dictionary: ["{spec.input_name}": input])\n'
        f"{_swift_results(resolved, spec)}"
    )


def _swift_results(resolved: Resolved, spec: ExportSpec) -> str:
    run = "try model.prediction(from: fed)"
    if not resolved.features:
        return f'let found = {run}.featureValue(for: "{spec.output_name}")'
    return "\n".join(
        [
            f"let found = {run}",
            *(
                f'let {each.name} = found.featureValue(for: "{each.name}")!.multiArrayValue!{_shape(each)}'
                for each in resolved.features
            ),
        ]
    )


def _vision_results(resolved: Resolved, spec: ExportSpec) -> str:
    if not resolved.features:
        kind = "VNClassificationObservation" if spec.classes else "VNCoreMLFeatureValueObservation"
        return f"let found = request.results  // [{kind}]"
    return "\n".join(
        [
            "let found = request.results as! [VNCoreMLFeatureValueObservation]",
            *(
                f'let {each.name} = found.first {{ $0.featureName == "{each.name}" }}!.featureValue.multiArrayValue!'
                f"{_shape(each)}"
                for each in resolved.features
            ),
        ]
    )


def _swift_executorch(resolved: Resolved, spec: ExportSpec) -> str:
    channels, height, width = resolved.input_size
    kind = "UInt8" if spec.input == "image" else "Float"
    made = f"var values = [{kind}](repeating: 0, count: {channels * width * height})\n"
    sum_ = " + ".join(f"{part} * Int(bytes[4 * i + {c}])" for c, part in enumerate(_LUMA))
    value = f"UInt8(({sum_} + 32768) >> 16)" if channels == 1 else "bytes[4 * i + c]"
    normal = spec.input == "tensor"
    constants = f"let mean: [Float] = [{_numbers(resolved.mean)}], std: [Float] = [{_numbers(resolved.std)}]\n"
    place = f"{channels} * i + c" if spec.pixels_last else f"c * {width} * {height} + i"
    filled = (
        f"{drawing.swift(resolved)}"
        "let bytes = context.data!.assumingMemoryBound(to: UInt8.self)\n"
        f"{made}{constants if normal else ''}"
        f"for c in 0..<{channels} {{ for i in 0..<({width} * {height}) {{\n"
        f"    values[{place}] = {f'(Float({value}) / 255 - mean[c]) / std[c]' if normal else value}\n"
        "} }\n"
        if from_a_photo(resolved)
        else f"{made}// Fill it with the {channels} channels of a picture that is prepared as said.\n"
    )
    return (
        f"{filled}"
        "let module = Module(filePath: modelPath)  // link executorch, backend_coreml and kernels_optimized\n"
        f"let outputs = try module.forward(Tensor<{kind}>(values, shape: [1, {sides(resolved, spec)}]))\n"
        "let tensor: Tensor<Float>? = outputs[0].tensor()\n"
        "let found = tensor!.scalars()"
    )


def _kotlin(resolved: Resolved, spec: ExportSpec, run: _Run) -> str:
    channels, height, width = resolved.input_size
    kind = "ByteBuffer.allocateDirect" if spec.input == "image" else "FloatBuffer.allocate"
    buffer = f"val buffer = {kind}({channels} * {width} * {height})\n"
    if not from_a_photo(resolved):
        fill = f"{buffer}// Fill it with the {channels} channels of a picture that is prepared as said.\n"
    elif channels == 1:
        shifts = zip(_LUMA, (16, 8, 0), strict=True)
        luma = " + ".join(f"{part} * (pixel shr {shift} and 255)" for part, shift in shifts)
        each = f"{luma} + 32768 shr 16"
        put = (
            f"({each}).toByte()"
            if spec.input == "image"
            else f"(({each}) / 255f - {_floats(resolved.mean)}) / {_floats(resolved.std)}"
        )
        fill = f"{drawing.kotlin(resolved)}{buffer}for (pixel in pixels) buffer.put({put})\n"
    elif spec.input == "image":
        each = (
            "for (pixel in pixels) for (shift in intArrayOf(16, 8, 0)) buffer.put((pixel shr shift).toByte())\n"
            if spec.pixels_last
            else "for (shift in intArrayOf(16, 8, 0)) for (pixel in pixels) buffer.put((pixel shr shift).toByte())\n"
        )
        fill = f"{drawing.kotlin(resolved)}{buffer}{each}"
    else:
        fill = (
            f"{drawing.kotlin(resolved)}"
            f"val mean = floatArrayOf({_floats(resolved.mean)})\nval std = floatArrayOf({_floats(resolved.std)})\n"
            f"{buffer}"
            "for (c in 0..2) for (pixel in pixels)\n"
            "    buffer.put((((pixel shr (16 - 8 * c)) and 255) / 255f - mean[c]) / std[c])\n"
        )
    return f"{fill}buffer.rewind()\n" + run(spec, sides(resolved, spec), resolved.features)


def _javascript(resolved: Resolved, spec: ExportSpec) -> str:
    channels, height, width = resolved.input_size
    count = width * height
    kind = "Uint8Array" if spec.input == "image" else "Float32Array"
    if from_a_photo(resolved):
        luma = " + ".join(f"{part} * rgba[4 * pixel + {c}]" for c, part in enumerate(_LUMA))
        value = f"{luma} + 32768 >> 16" if channels == 1 else "rgba[4 * pixel + c]"
        if spec.input == "tensor":
            value = f"(({value}) / 255 - mean[c]) / std[c]"
        constants = f"const mean = [{_numbers(resolved.mean)}], std = [{_numbers(resolved.std)}];\n"
        where = f"{channels} * pixel + c" if spec.pixels_last else f"{count} * c + pixel"
        fill = (
            f"{drawing.javascript(resolved)}{constants if spec.input == 'tensor' else ''}"
            f"const values = new {kind}({channels * count});\n"
            f"for (let c = 0; c < {channels}; c++)\n"
            f"  for (let pixel = 0; pixel < {count}; pixel++) values[{where}] = {value};\n"
        )
    else:
        fill = (
            f"const values = new {kind}({channels * count});\n"
            f"// Fill it with the {channels} channels of a picture that is prepared as said.\n"
        )
    type_ = "uint8" if spec.input == "image" else "float32"
    return (
        f"{fill}const session = await ort.InferenceSession.create(modelUrl);\n"
        f'const input = new ort.Tensor("{type_}", values, [1, {sides(resolved, spec)}]);\n'
        + _javascript_run(resolved, spec)
    )


def _javascript_run(resolved: Resolved, spec: ExportSpec) -> str:
    run = f"await session.run({{ {spec.input_name}: input }});"
    if not resolved.features:
        return f"const {{ {spec.output_name}: found }} = {run}"
    lines = [f"const found = {run}"]
    lines += [f"const {each.name} = found.{each.name}.data;{_shape(each)}" for each in resolved.features]
    return "\n".join(lines)


def sides(resolved: Resolved, spec: ExportSpec) -> str:
    """The input's dimensions but the batch, in the order of the file."""
    channels, height, width = resolved.input_size
    return f"{height}, {width}, {channels}" if spec.pixels_last else f"{channels}, {height}, {width}"


def cpp_pixels(resolved: Resolved, spec: ExportSpec) -> str:
    """C++ that makes `pixels`, a vector in the order of the file, of `input`, which `drawing.cpp` drew."""
    channels, height, width = resolved.input_size
    kind = "uint8_t" if spec.input == "image" else "float"
    made = f"std::vector<{kind}> pixels({channels} * {height} * {width});\n"
    if not from_a_photo(resolved):
        return f"{made}// Fill it with the {channels} channels of a picture that is prepared as said.\n"
    sum_ = " + ".join(f"{part} * rgb[{c}]" for c, part in enumerate(_LUMA))
    value = f"(({sum_} + 32768) >> 16)" if channels == 1 else "rgb[c]"
    constants = ""
    if spec.input == "tensor":
        constants = f"const float mean[] = {{{_floats(resolved.mean)}}}, std_[] = {{{_floats(resolved.std)}}};\n"
        value = f"({value} / 255.f - mean[c]) / std_[c]"
    where = f"{channels} * i + c" if spec.pixels_last else f"c * {width} * {height} + i"
    return (
        f"{made}{constants}for (int i = 0; i < {height} * {width}; i++) {{\n"
        "    const uint8_t* rgb = input.data + 3 * i;\n"
        f"    for (int c = 0; c < {channels}; c++) pixels[{where}] = {value};\n"
        "}\n"
    )


def python_pixels(resolved: Resolved, spec: ExportSpec) -> str:
    """Python that makes `pixels`, an array as the file takes it, of `canvas`, which `drawing.python` drew."""
    channels, height, width = resolved.input_size
    if not from_a_photo(resolved):
        kind = "np.uint8" if spec.input == "image" else "np.float32"
        return (
            f"pixels = np.zeros((1, {sides(resolved, spec)}), {kind})  # fill it with the {channels} channels of a "
            "picture that is prepared as said\n"
        )
    made = f"pixels = np.asarray(canvas).reshape({height}, {width}, {channels})\n"
    if spec.input == "tensor":
        made += f"pixels = ((pixels / 255 - {_list(resolved.mean)}) / {_list(resolved.std)}).astype(np.float32)\n"
    return f"{made}pixels = pixels[None]\n" if spec.pixels_last else f"{made}pixels = pixels.transpose(2, 0, 1)[None]\n"


def outputs_comment(resolved: Resolved, mark: str = "  #") -> str:
    """A comment with the shapes of the feature maps; empty if there are none."""
    shapes = ", ".join(f"{each.name} (1, {', '.join(map(str, each.shape))})" for each in resolved.features)
    return f"{mark} {shapes}" if shapes else ""


def _onnx_run(spec: ExportSpec, sides: str, maps: tuple[FeatureMap, ...]) -> str:
    kind = ", OnnxJavaType.UINT8" if spec.input == "image" else ""
    run = f'session.run(mapOf("{spec.input_name}" to tensor)).use {{ '
    if maps:
        names = ", ".join(f'"{each.name}"' for each in maps)
        read = (
            f"val maps = {run}found ->\n    listOf({names})"
            ".associateWith { found.get(it).get().value as Array<Array<Array<FloatArray>>> }\n}\n"
            + "\n".join(f'val {each.name} = maps.getValue("{each.name}"){_shape(each)}' for each in maps)
        )
    else:
        read = f"val found = {run}it[0].value as Array<FloatArray> }}"
    return (
        "val environment = OrtEnvironment.getEnvironment()\n"
        "val session = environment.createSession(modelBytes)\n"
        f"val tensor = OnnxTensor.createTensor(environment, buffer, longArrayOf(1, {sides}){kind})\n{read}"
    )


def _executorch_run(spec: ExportSpec, sides: str, maps: tuple[FeatureMap, ...]) -> str:
    make = "fromBlobUnsigned" if spec.input == "image" else "fromBlob"
    read = [f"val {each.name} = found[{i}].toTensor().dataAsFloatArray{_shape(each)}" for i, each in enumerate(maps)]
    one = "[0].toTensor().dataAsFloatArray" if not maps else ""
    return "\n".join(
        [
            "val module = Module.load(modelPath)",
            f"val tensor = Tensor.{make}(buffer, longArrayOf(1, {sides}))",
            f"val found = module.forward(EValue.from(tensor)){one}",
            *read,
        ]
    )


def _litert_run(spec: ExportSpec, sides: str, maps: tuple[FeatureMap, ...]) -> str:
    start = f"val interpreter = Interpreter(modelFile)  // input (1, {sides})\n"
    if not maps:
        return (
            f"{start}val found = Array(1) {{ FloatArray(interpreter.getOutputTensor(0).shape()[1]) }}\n"
            "interpreter.run(buffer, found)"
        )
    made = "\n".join(
        f"val {each.name} = "
        f"Array(1) {{ Array({each.channels}) {{ Array({each.height}) {{ FloatArray({each.width}) }} }} }}"
        for each in maps
    )
    given = ", ".join(f"{i} to {each.name}" for i, each in enumerate(maps))
    return f"{start}{made}\ninterpreter.runForMultipleInputsOutputs(arrayOf<Any>(buffer), mapOf<Int, Any>({given}))"


def _shape(each: FeatureMap) -> str:
    return f"  // (1, {', '.join(map(str, each.shape))})"


def _list(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value!r}" for value in values) + ")"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value!r}" for value in values)


def _floats(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value!r}f" for value in values)
