"""One word for a network, its size and whether it has weights, as it goes to a fresh process that builds it again."""

from lowzoo.preprocess.input_facts import Side, both_sides, parse_size

UNTRAINED = "untrained:"
_SIZE = "size="


def network_spec_of(model: str, *, size: Side | None = None, untrained: bool = False) -> str:
    """Write `untrained:size=128x256:MODEL`; what is the usual is left out."""
    sides = "x".join(map(str, both_sides(size))) if size is not None else ""
    return f"{UNTRAINED if untrained else ''}{f'{_SIZE}{sides}:' if sides else ''}{model}"


def read_network_spec(model_spec: str) -> tuple[str, tuple[int, int] | None, bool]:
    """Give MODEL, its size if one is wanted, and whether it has weights."""
    rest = model_spec.removeprefix(UNTRAINED)
    pretrained, size = rest == model_spec, None
    if rest.startswith(_SIZE):
        sides, _, rest = rest.removeprefix(_SIZE).partition(":")
        size = parse_size(sides, "--size")
    return rest, size, pretrained
