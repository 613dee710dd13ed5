"""`lowzoo cards`: write the model cards from the catalog, or tell which are stale."""

from pathlib import Path
from typing import Annotated

import typer


def cards(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if a card is stale.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the cards.", metavar="DIR")] = Path("model_cards"),
) -> None:
    """Write one model card for each model from the catalog.

    A card is never edited by hand: change the catalog and run this again.
    """
    from lowzoo.cards import render_cards
    from lowzoo.files import writable_folder, write_text

    texts = render_cards()
    stale = [name for name, text in texts.items() if not _is_current(out / name, text)]
    extra = sorted(path.name for path in out.glob("*.md") if path.name not in texts)
    if check:
        for name in stale:
            print(f"{out / name} is stale or missing; run `lowzoo cards`")
        for name in extra:
            print(f"{out / name} belongs to no model of the catalog; remove it")
        if stale or extra:
            raise typer.Exit(1)
        print(f"{len(texts)} cards are current")
        return
    writable_folder(out)
    for name in stale:
        write_text(out / name, texts[name])
        print(f"wrote {out / name}")
    print(f"{len(texts) - len(stale)} of {len(texts)} cards were current")


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
