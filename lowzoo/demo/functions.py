"""`lowzoo.demo.teach`: what `lowzoo demo` calls."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lowzoo.base.options import Option, Progress

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.demo.room import Visit
    from lowzoo.zoo.resolve import Resolved


def teach(
    model: Annotated[
        "str | Path | nn.Module | Resolved",
        Option(metavar="[MODEL|ARTIFACT]", early="lowzoo.checkpoints.early:refuse_early"),
    ] = "rob_vit_tiny",
    *,
    lan: bool = False,
    https: bool = False,
    certificate: Annotated[str | Path | None, Option(metavar="PEM")] = None,
    port: int = 0,
    ort_dist: Annotated[str | Path | None, Option(metavar="DIR")] = None,
    size: Annotated[
        int | tuple[int, int] | None, Option(metavar="PX|HxW", read="lowzoo.preprocess.input_facts:parse_size")
    ] = None,
    minutes: Annotated[float, Option(metavar="M")] = 60.0,
    progress: Progress = None,
) -> "Visit":
    """Serve a page that a phone is taught on: photograph a few things, name them, then point.

    The page names the nearest thing (cosine with the mean of its pictures' features), live, and gives one ONNX file:
    backbone, learned head and names, for `lowzoo check` and an app. Pictures, names and what is learned stay on the
    phone; this terminal shows who has joined and how many pictures they took. Ends by Ctrl-C.

    Tried in Chromium on a computer, with its fake camera; never on a phone by us.

    Args:
        model: A MODEL, which is exported to ONNX first, or an .onnx file of `lowzoo export`. In Python also what
            `lowzoo.load` gave, or a network.
        lan: For every device of this network, instead of this computer alone.
        https: Serve by https, which a phone's camera wants, with a certificate made for this run.
        certificate: The same with a certificate of yours (with its key). It must be for this computer's address,
            which the link names.
        port: Where to listen; 0 finds one.
        ort_dist: An onnxruntime-web folder (npm); a pinned CDN version if absent.
        size: Size of a MODEL's input: side, or height x width, such as 128x256; its own if absent.
        minutes: End after so long.
        progress: Takes each line of what is being done, such as `print`; None is silent.

    Returns:
        Who joined.

    Raises:
        LowzooError: Unknown model, a file that a page cannot teach, onnxruntime-web or a package that is not there, or
            a port that is taken.
    """
    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.bench.subjects.exported import artifact_of
    from lowzoo.demo.session import TeachingRoom, door
    from lowzoo.serving.place import Serving

    if https and certificate is not None:
        raise LowzooError("--https makes the certificate that --certificate names", "Give one of the two")
    dist, pem = (None if path is None else Path(path) for path in (ort_dist, certificate))
    entrance = door(Serving(lan, port, dist, pem, minutes), own_certificate=https)
    with told(progress) as say, artifact_of(model, ".onnx", untrained=False, size=size, say=say) as artifact:
        return TeachingRoom(artifact, entrance).serve(say)
