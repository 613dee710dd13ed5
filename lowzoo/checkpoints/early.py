"""Saying no before torch and timm are imported, which alone take longer than anybody waits for a mistyped word.

A name is looked up in the text of timm's modules, a checkpoint's pickle is read as a list of instructions, none of
which is followed, and the names and shapes in it, or in a model folder, are compared with those that lowzoo knows of
timm's architectures.
Only what is certain is refused; whatever is doubtful is left to those who read the file in earnest.
"""

import os
import pickletools
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog.architectures import architectures, knows_architecture
from lowzoo.checkpoints.files.harmless import could_run_code, is_harmless

# A word that ends like this and is a file means the file, though `resnet34.pth` looks like a model with a tag.
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".torch", ".safetensors")
_MAGIC = 0x1950A86A20F9469CFC6C
# Of torch's older form: magic number, version, machine, and then the object.
_OLDER_PARTS = 4
_FOLDER = "local-dir:"
_SCHEMES = ("hf-hub:", _FOLDER)


def refuse_early(model_spec: str | None) -> str | None:
    """Give a MODEL word back, or refuse it where that needs neither torch nor timm.

    Raises:
        LowzooError: An unknown name, a file that is no checkpoint or could run code, or one or a model folder that
            holds another network than it should.
    """
    if not model_spec:
        return model_spec
    if model_spec.startswith(_SCHEMES):
        _refuse_folder(model_spec)
        return model_spec
    name = model_spec.removeprefix(catalog.PREFIX)
    architecture, at, rest = name.partition("@")
    if at and "/" not in architecture and not Path(model_spec).exists():
        if architecture in catalog.teachers():  # whose layout its family knows
            return model_spec
        file = Path(rest).expanduser()
        if not file.exists() and "#" in rest:
            file = Path(rest.rpartition("#")[0]).expanduser()
        known = knows_architecture(architecture)
        if known or file.is_file():
            if not known:
                raise unknown_architecture(architecture)
            branch = rest.rpartition("#")[2] if file != Path(rest).expanduser() else ""
            refuse_misfit(file, architecture, branch)
        return model_spec
    if is_checkpoint(model_spec):
        refuse_file(Path(model_spec))
        _refuse_alone(model_spec)
        return model_spec
    if model_spec.startswith(catalog.PREFIX) or name.partition(".")[0] in catalog.models() or Path(model_spec).is_dir():
        _refuse_folder(model_spec)
        return model_spec
    if Path(model_spec).is_file():
        if not is_artifact(model_spec) and not knows_architecture(model_spec):
            refuse_file(Path(model_spec))
            _refuse_alone(model_spec)
        return model_spec
    # With timm there already no time is spared, and `lowzoo.zoo.find` says the same.
    if (
        "/" not in model_spec
        and os.sep not in model_spec
        and "timm" not in sys.modules
        and model_spec not in catalog.teachers()
        and not knows_architecture(model_spec)
    ):
        raise unknown_model(model_spec, architectures())
    return model_spec


def is_checkpoint(model_spec: str) -> bool:
    """Whether a word names a checkpoint that is here, whatever models are called."""
    return Path(model_spec).suffix in _CHECKPOINTS and Path(model_spec).is_file()


def is_artifact(model_spec: str) -> bool:
    """Whether a word ends as the artifacts of an export format do."""
    from lowzoo.export.formats import suffixes

    return Path(model_spec).suffix in suffixes()


def refuse_early_checkpoint(model_spec: str | None) -> str | None:
    """The same where a word may also mean something else than a model: `ARCH@FILE` and model folders are judged."""
    if model_spec and "@" in model_spec:
        return refuse_early(model_spec)
    if model_spec:
        _refuse_folder(model_spec)
    return model_spec


def refuse_early_checkpoints(words: list[str] | None) -> list[str] | None:
    """The same for several."""
    for word in words or ():
        refuse_early_checkpoint(word)
    return words


def refuse_checkpoint(checkpoint: Path) -> Path:
    """The same for a file that is named alone."""
    refuse_file(checkpoint)
    return checkpoint


def refuse_misfit(checkpoint: Path, architecture: str, branch: str = "") -> None:
    """Refuse a file that is no checkpoint, or one whose names and shapes are not those of the architecture.

    Args:
        checkpoint: Anybody's.
        architecture: timm's name or a student's short one, with or without a tag.
        branch: Which of several copies; any if empty.

    Raises:
        LowzooError: It is one of these; nothing is said where only torch and timm can tell.
    """
    refuse_file(checkpoint)
    if "timm" not in sys.modules:  # with it, no time is spared
        compare_outline(checkpoint, architecture, branch)


def compare_outline(checkpoint: Path, architecture: str, branch: str = "") -> None:
    """The part of `refuse_misfit` that compares names and shapes, with nothing but those of the file.

    Raises:
        LowzooError: They are not the architecture's.
    """
    from lowzoo.catalog.shapes import known_skeleton
    from lowzoo.checkpoints.families.published import could_be_published
    from lowzoo.checkpoints.files.fit import places_of
    from lowzoo.checkpoints.files.outline import read_outline

    base, dot, tag = architecture.removeprefix(catalog.PREFIX).partition(".")
    base = catalog.students().get(base, base)
    if known_skeleton(base) is None or (content := read_outline(checkpoint)) is None:
        return
    if branch or not could_be_published(content, base):
        places_of(checkpoint, f"{base}{dot}{tag}", content, branch, known_skeleton)


def _refuse_folder(model_spec: str) -> None:
    """Refuse a model folder that holds another network than it says; any other word passes."""
    from lowzoo.checkpoints.model_folder import refuse_other_network, weights_in

    folder = Path(model_spec.removeprefix(_FOLDER))
    if model_spec.startswith(catalog.PREFIX) or weights_in(folder) is None:
        return
    # A name means the model of that name, whatever folders are here.
    is_path = model_spec.startswith(_FOLDER) or "/" in model_spec or os.sep in model_spec
    if is_path or not knows_architecture(model_spec):
        refuse_other_network(folder)


def _refuse_alone(model_spec: str) -> None:
    if "timm" in sys.modules:
        return
    from lowzoo.checkpoints.files.fit import no_architecture
    from lowzoo.checkpoints.files.outline import read_outline

    if (content := read_outline(Path(model_spec))) is not None:
        raise no_architecture(model_spec, content)


def refuse_unpublished(checkpoint: Path, family: str | None) -> None:
    """Refuse a file that is no checkpoint, or none that is known by its names and shapes.

    Args:
        checkpoint: Checkpoint of a publisher that lowzoo knows.
        family: What it is; any if None.

    Raises:
        LowzooError: It is one of these; nothing is said where only torch and timm can tell.
    """
    refuse_file(checkpoint)
    if "timm" not in sys.modules:
        from lowzoo.checkpoints.families.published import refuse_published

        refuse_published(checkpoint, family)


def refuse_architecture(architecture: str | None) -> str | None:
    """The same for the name of an architecture; None is none."""
    if architecture and not knows_architecture(architecture):
        raise unknown_architecture(architecture)
    return architecture


def unknown_model(model_spec: str, names: Iterable[str]) -> LowzooError:
    """What to say of a word that means nothing."""
    near = f" (near: {catalog.students()[model_spec]})" if model_spec in catalog.students() else ""
    near = near or catalog.near_matches(model_spec.partition(".")[0], [*catalog.models(), *sorted(names)])
    return LowzooError(
        f"unknown model {model_spec}{near}",
        "Name a model of `lowzoo list`, a folder, hf-hub:ORG/NAME[/FOLDER][@REVISION], or a timm model",
    )


def unknown_architecture(architecture: str) -> LowzooError:
    """What to say of a name that timm does not have."""
    near = catalog.near_matches(architecture.partition(".")[0], sorted(architectures()))
    return LowzooError(f"unknown architecture {architecture}{near}", "Name one of timm's")


def refuse_file(path: Path) -> None:
    """Refuse a file that is certainly no checkpoint, or one whose pickle names what could run code.

    Raises:
        LowzooError: There is no such file, or it is one of these.
    """
    if not path.is_file():
        raise LowzooError(f"there is no file {path}", "Name the checkpoint")
    if path.suffix == ".safetensors":
        from lowzoo.io.safetensors_file import check_safetensors

        check_safetensors(path)
        return
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            # What is neither is for torch to judge: it still reads tar archives of its first years.
            if start[:2] == b"PK":
                _refuse_zip(path)
            elif start[:1] == b"\x80":
                _refuse_calls(path, _called_in_older(file))
            elif not _is_tar(path) and not _is_pickle(file):
                raise _unreadable(path, "it starts like no such file" if start else "it is empty")
    except OSError as error:
        raise LowzooError(f"{path} cannot be read ({error.strerror})", "Name a file that can be read") from error


def _refuse_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if not inside:
                raise _unreadable(path, "an archive of other things")
            for name in inside:
                with archive.open(name) as part:
                    _refuse_calls(path, _called(part))
    except zipfile.BadZipFile as error:
        raise _unreadable(path, "an archive without its end") from error
    except (NotImplementedError, RuntimeError):  # a compression or a lock that torch will have words for
        return


def _refuse_calls(path: Path, names: Iterator[str]) -> None:
    for name in names:
        if not is_harmless(name):
            raise could_run_code(path, name)


def _unreadable(path: Path, reason: str) -> LowzooError:
    return LowzooError(
        f"{path} cannot be read as a torch checkpoint, or it is cut short ({reason})", "Get the file again"
    )


def _called_in_older(file: IO[bytes]) -> Iterator[str]:
    for _ in range(_OLDER_PARTS):
        yield from _called(file)


def _called(file: IO[bytes]) -> Iterator[str]:
    """What one pickle names, `module.name`; ends quietly where it is damaged, as torch then says so."""
    words: list[str] = []
    memo: dict[int, str] = {}
    try:
        for opcode, argument, _ in pickletools.genops(file):
            kind = opcode.name
            if kind in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".")
            elif kind == "STACK_GLOBAL":
                if len(words) >= 2:
                    yield ".".join(words[-2:])
            elif kind == "MEMOIZE":
                memo[len(memo)] = words[-1] if words else ""
            elif kind in ("BINPUT", "LONG_BINPUT", "PUT") and isinstance(argument, int):
                memo[argument] = words[-1] if words else ""
            elif kind in ("BINGET", "LONG_BINGET", "GET") and isinstance(argument, int):
                words.append(memo.get(argument, ""))
            elif isinstance(argument, str):
                words.append(argument)
            del words[:-2]
    except (ValueError, EOFError, IndexError, KeyError, OverflowError, UnicodeDecodeError):
        return


def _is_tar(path: Path) -> bool:
    import tarfile

    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, ValueError):
        return False


def _is_pickle(file: IO[bytes]) -> bool:
    """Whether a pickle of the first protocols, which have no mark, begins here."""
    try:
        return next(pickletools.genops(file))[1] == _MAGIC
    except (ValueError, StopIteration, EOFError, IndexError):
        return False
