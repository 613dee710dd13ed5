"""A package from outside: files and dist-info in a folder that stands on a path, as pip would leave them."""

from collections.abc import Mapping
from pathlib import Path


def write_distribution(
    site: Path, name: str, entries: Mapping[str, Mapping[str, str]], files: Mapping[str, str], version: str = "0.1"
) -> Path:
    """Install a package into the folder `site`.

    Args:
        site: To be put on `sys.path` or PYTHONPATH.
        name: Name of the distribution.
        entries: Group of entry points -> name -> "module:attribute".
        files: Path below `site` -> text.
        version: Version of the distribution.
    """
    for file, text in files.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text, encoding="utf-8")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    groups = [
        "\n".join([f"[{group}]", *(f"{entry} = {place}" for entry, place in named.items())])
        for group, named in entries.items()
    ]
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n", encoding="utf-8")
    return site
