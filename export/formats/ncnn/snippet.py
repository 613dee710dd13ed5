"""C++ that feeds an ncnn file a picture, on Android and on an iPhone."""

from lowzoo.export.artifacts import drawing
from lowzoo.export.artifacts.feeding import from_a_photo, outputs_comment
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.zoo.resolve import Resolved


def ncnn_snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """C++; for a file of float32 it turns off the float16 that ncnn computes in on a phone whatever the weights are."""
    channels, height, width = resolved.input_size
    if from_a_photo(resolved):
        kind = "PIXEL_RGB" if channels == 3 else "PIXEL_RGB2GRAY"
        made = (
            f"{drawing.cpp(resolved)}"
            f"ncnn::Mat planes = ncnn::Mat::from_pixels(input.data, ncnn::Mat::{kind}, {width}, {height});\n"
        )
    else:
        made = f"ncnn::Mat planes({width}, {height}, {channels});  // fill it with the {channels} channels\n"
    if spec.input == "tensor":
        means = ", ".join(f"{255 * value:.9g}f" for value in resolved.mean)
        factors = ", ".join(f"{1 / (255 * value):.9g}f" for value in resolved.std)
        made += f"const float means[] = {{{means}}}, factors[] = {{{factors}}};\n"
        made += "planes.substract_mean_normalize(means, factors);\n"
    exact = (
        "net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = false;\n"
        if spec.precision == "fp32"
        else ""
    )
    names = [each.name for each in resolved.features] or [spec.output_name]
    read = "\n".join(f'ncnn::Mat {name};\nextractor.extract("{name}", {name});' for name in names)
    return (
        f"// C++\n{made}ncnn::Net net;\n{exact}"
        "net.load_param(paramFile);\nnet.load_model(binFile);\n"
        "ncnn::Extractor extractor = net.create_extractor();\n"
        f'extractor.input("{spec.input_name}", planes);\n{read}{outputs_comment(resolved, "  //")}'
    )
