"""The configuration of a RoB run: typed, with the paper's defaults, resolved from preset, file and command line.

Defaults of a loss family stand in `presets/rob_<loss>.toml` (recipes of arXiv 2301.09451 as its first author's code
ships them). Later sources win: preset, then a TOML file, then options, then `--set key=value`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from lowzoo.catalog import near_matches
from lowzoo.errors import LowzooError
from lowzoo.train.heads import HeadSpec
from lowzoo.train.objectives.rob import Loss
from lowzoo.train.schedules import Form, Update
from lowzoo.train.views import ViewGroup

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RobConfig(BaseModel):
    """Every setting of `lowzoo train rob`.

    Units: learning rates are per step and not scaled by the batch, shares are of the run, temperatures divide logits,
    sizes are pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Literal["rob"] = "rob"
    loss: Loss = "dino"
    student: str = "vit_tiny"
    teacher: str = "dino_vits16"
    teacher_head: Literal["own", "fitted"] = "own"
    teacher_file: str = ""
    prototypes: PositiveInt = 1024
    fitted_bottleneck: PositiveInt = 256
    fitted_whitening: Annotated[float, Field(ge=0, le=1)] = 0.5
    fitted_images: PositiveInt = 20_000

    views: tuple[ViewGroup, ...]
    student_head: HeadSpec = HeadSpec()
    teacher_prototypes: bool = False
    student_temperature: Positive = 0.1
    teacher_temperature: Positive | None = None
    swapped: bool = False
    drop_path: Share = 0.0
    patch_drop: Share = 0.0

    epochs: PositiveInt
    batch_size: PositiveInt = 1024
    lr: Positive
    lr_start: NonNegativeFloat
    lr_end: NonNegativeFloat
    warmup: Share
    schedule: Form = "cosine"
    update: Update = "epoch"
    weight_decay: NonNegativeFloat
    weight_decay_end: NonNegativeFloat
    betas: tuple[Share, Share] = (0.9, 0.999)
    clip_grad: NonNegativeFloat = 0.0

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    workers: NonNegativeInt | None = None
    seed: NonNegativeInt = 0
    max_bad_share: Share = 0.01
    checkpoint_steps: NonNegativeInt = 500
    monitor_epochs: NonNegativeInt = 1
    monitor_bank: PositiveInt = 10_000
    monitor_queries: PositiveInt = 2_000

    @model_validator(mode="after")
    def _views_fit(self) -> Self:
        groups = [group.name for group in self.views]
        if not groups or groups[0] != "global" or groups.count("global") != 1:
            raise ValueError("views need exactly one group named 'global', and it stands first")
        if self.student_head.kind not in ("dino", "mlp"):
            raise ValueError("student_head.kind must be 'dino' or 'mlp'")
        return self

    @property
    def global_size(self) -> int:
        """Side of the global views in pixels; also the size of evaluation."""
        return self.views[0].size


def resolve(
    preset: str, file: Path | None = None, options: Mapping[str, Any] | None = None, settings: Sequence[str] = ()
) -> RobConfig:
    """Lay the sources over one another and validate the result.

    Args:
        preset: Name of a preset, `rob_dino`, `rob_msn` or `rob_sample`.
        file: A TOML file with any fields.
        options: Fields given on the command line; None values are left out.
        settings: `key=value` words; a dot descends (`student_head.hidden=512`), the value is TOML or a bare word.

    Raises:
        LowzooError: An unknown key, an impossible value, an unreadable file.
    """
    fields = tomllib.loads(preset_text(preset))
    if file is not None:
        fields = _merge(fields, _read(file))
    fields = _merge(fields, {key: value for key, value in (options or {}).items() if value is not None})
    for setting in settings:
        fields = _merge(fields, _parse_setting(setting))
    return validate(fields)


def validate(fields: Mapping[str, Any]) -> RobConfig:
    """The configuration of these fields.

    Raises:
        LowzooError: The first unknown key or impossible value, by name.
    """
    try:
        return RobConfig.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = HeadSpec.model_fields if key.startswith("student_head.") else RobConfig.model_fields
            near = near_matches(key.rpartition(".")[2], known)
            raise LowzooError(f"unknown configuration key {key!r}{near}", "See `lowzoo train rob --help`") from None
        reason = first["msg"].removeprefix("Value error, ")
        where = f"{key} = {first['input']!r} is impossible" if key else "the configuration is impossible"
        raise LowzooError(f"{where}: {reason[:1].lower()}{reason[1:]}", "Change it and run again") from None


def preset_text(name: str) -> str:
    """The TOML text of a preset that ships with the package."""
    return (files("lowzoo.train.presets") / f"{name}.toml").read_text(encoding="utf-8")


def preset_names() -> list[str]:
    """The presets that ship with the package."""
    return sorted(
        item.name.removesuffix(".toml")
        for item in files("lowzoo.train.presets").iterdir()
        if item.name.endswith(".toml")
    )


def to_toml(config: BaseModel) -> str:
    """The configuration as TOML that `resolve` reads back to the same value."""
    fields = config.model_dump(mode="json", exclude_none=True)
    plain = {key: value for key, value in fields.items() if not _is_table(value)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in fields.items():
        for table in [value] if isinstance(value, dict) else value if _is_table(value) else []:
            lines += ["", f"[{key}]" if isinstance(value, dict) else f"[[{key}]]"]
            lines += [f"{name} = {_toml_value(item)}" for name, item in table.items()]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LowzooError(f"cannot read {file}: {error.strerror}", "Name a TOML file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LowzooError(f"{file} is not TOML: {error}", "Mend the file") from None


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, text = setting.partition("=")
    if not key.strip() or not equals:
        raise LowzooError(f"--set {setting!r} is not of the form key=value", "Write for example --set epochs=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`; tables are merged, everything else is replaced."""
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged
