"""`lowzoo cards`: write the model cards and the README's table from the catalog, or tell which are stale."""

from pathlib import Path
from typing import Annotated

import typer


def cards(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if a card is stale.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the cards.", metavar="DIR")] = Path("model_cards"),
) -> None:
    """Write one model card for each model from the catalog, and the table of models of the README.md beside DIR.

    They are never edited by hand: change the catalog and run this again.
    """
    from lowzoo.cards.model_cards import render_cards
    from lowzoo.cards.readme_table import with_table
    from lowzoo.io.files import writable_folder, write_text

    texts = {out / name: text for name, text in render_cards().items()}
    readme = out.parent / "README.md"
    if readme.is_file():
        texts[readme] = with_table(readme.read_text(encoding="utf-8"), str(readme))
    stale = [path for path, text in texts.items() if not _is_current(path, text)]
    extra = sorted(path for path in out.glob("*.md") if path not in texts)
    if check:
        for path in stale:
            print(f"{path} is stale or missing; run `lowzoo cards`")
        for path in extra:
            print(f"{path} belongs to no model of the catalog; remove it")
        if stale or extra:
            raise typer.Exit(1)
        print(f"{len(texts)} texts are current")
        return
    writable_folder(out)
    for path in stale:
        write_text(path, texts[path])
        print(f"wrote {path}")
    print(f"{len(texts) - len(stale)} of {len(texts)} texts were current")


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
