"""C++ that feeds an MNN file a picture, on Android and on an iPhone."""

from lowzoo.export.artifacts import drawing
from lowzoo.export.artifacts.feeding import cpp_pixels, from_a_photo, outputs_comment, sides
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.zoo.resolve import Resolved


def mnn_snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """C++, by MNN's modules; the order of dimensions of an ONNX graph is kept, and called NCHW whatever it is."""
    kind, word = ("uint8_t", "uint8_t") if spec.input == "image" else ("float", "float")
    drawn = drawing.cpp(resolved) if from_a_photo(resolved) else ""
    names = [each.name for each in resolved.features] or [spec.output_name]
    read = "\n".join(f"const float* {name} = found[{i}]->readMap<float>();" for i, name in enumerate(names))
    memory = (
        "backend.memory = MNN::BackendConfig::Memory_Low;  // activations in int8 too\n"
        if spec.precision == "int8-dynamic"
        else ""
    )
    precision = "Precision_Low" if spec.precision == "fp16" else "Precision_High"
    return (
        f"// C++\n{drawn}{cpp_pixels(resolved, spec)}"
        "MNN::BackendConfig backend;\n"
        f"backend.precision = MNN::BackendConfig::{precision};\n{memory}"
        "MNN::ScheduleConfig schedule;\nschedule.backendConfig = &backend;\n"
        "std::shared_ptr<MNN::Express::Executor::RuntimeManager> runtime(\n"
        "    MNN::Express::Executor::RuntimeManager::createRuntimeManager(schedule));\n"
        "std::shared_ptr<MNN::Express::Module> module(\n"
        f'    MNN::Express::Module::load({{"{spec.input_name}"}}, '
        f"{{{', '.join(chr(34) + name + chr(34) for name in names)}}}, mnnFile, runtime));\n"
        f"auto taken = MNN::Express::_Input({{1, {sides(resolved, spec)}}}, MNN::Express::NCHW, "
        f"halide_type_of<{kind}>());\n"
        f"std::memcpy(taken->writeMap<{word}>(), pixels.data(), pixels.size() * sizeof({word}));\n"
        f"auto found = module->onForward({{taken}});\n{read}{outputs_comment(resolved, '  //')}"
    )
