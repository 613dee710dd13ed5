"""A report as one page: no script, pictures inlined, light and dark, readable on a phone."""

import base64
import html
import io
from collections.abc import Iterator, Mapping

from lowzoo.base.printable import printable
from lowzoo.inspect.report import Report, SplitFacts
from lowzoo.inspect.shown import SIDE, Section, Shown, Tile
from lowzoo.inspect.words import advice, command, findings, method, rows
from lowzoo.io import marks

_MOST_BARS = 16
_STYLE = f"""
:root {{ color-scheme: light dark; --ground: #fff; --card: #f5f6f8; --text: #1b1f24; --quiet: #5a6270; --line: #d6dae1;
  --bar: #0b63ce; --bad: #b3261e; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ground: #14171b; --card: #1d2126; --text: #e8eaee; --quiet: #a2abb8; --line: #343a43; --bar: #6aa8f5;
    --bad: #f2867f; }}
}}
* {{ box-sizing: border-box; }}
body {{ background: var(--ground); color: var(--text); font: 1rem/1.45 system-ui, sans-serif; margin: 0 auto;
  max-width: 76rem; padding: 1.25rem 1rem 4rem; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.5rem; }}
h2 {{ margin-top: 2.25rem; border-bottom: 1px solid var(--line); font-size: 1.2rem; }}
h3 {{ font-size: 1rem; margin: 1.25rem 0 .4rem; }}
.quiet {{ color: var(--quiet); font-size: .875rem; }}
.bad li::marker {{ color: var(--bad); }}
.splits {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }}
.split {{ background: var(--card); border-radius: .5rem; padding: .25rem 1rem 1rem; min-width: 0; }}
dl {{ display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .2rem .8rem; margin: 0;
  font-size: .9rem; }}
dt {{ color: var(--quiet); }}
dd {{ margin: 0; font-variant-numeric: tabular-nums; }}
.bars {{ display: grid; grid-template-columns: minmax(4rem, max-content) 1fr max-content; gap: .15rem .6rem;
  font-size: .85rem; align-items: center; font-variant-numeric: tabular-nums; }}
.bars i {{ background: var(--bar); height: .65rem; min-width: 1px; border-radius: 2px; }}
summary {{ color: var(--quiet); font-size: .875rem; cursor: pointer; padding: .4rem 0; }}
.bars span:nth-child(3n) {{ text-align: right; }}
.group {{ display: inline-flex; flex-wrap: wrap; gap: .5rem; margin: 0 .9rem .9rem 0; vertical-align: top; }}
figure {{ margin: 0; width: {SIDE + 6}px; }}
figure img, figure .none {{ width: {SIDE + 6}px; height: {SIDE + 6}px; object-fit: contain; display: block;
  border: 3px solid var(--line); background: var(--card); border-radius: .25rem; }}
figure .none {{ display: grid; place-items: center; color: var(--bad); font-size: .8rem; }}
figure.problem img, figure.problem .none {{ border-color: var(--bad); }}
figcaption {{ font-size: .72rem; line-height: 1.25; color: var(--quiet); }}
code {{ background: var(--card); padding: .1rem .35rem; border-radius: .25rem; }}
"""


def to_html(report: Report, shown: Shown) -> str:
    """Write the page.

    Args:
        report: What was seen.
        shown: Its pictures.
    """
    return "\n".join(_page(report, shown)) + "\n"


def _page(report: Report, shown: Shown) -> Iterator[str]:
    title = _text(f"{report.name}: {report.pictures:,} pictures")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta name="generator" content="{marks.PNG_FIELDS["Software"]}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    yield from (f'<p class="quiet">{_text(line)}</p>' for line in report.found)
    yield from _verdict(report)
    yield '<h2>Splits</h2>\n<div class="splits">'
    for split in report.splits:
        yield from _split(split, report.crop)
    yield "</div>"
    for section in shown.sections:
        yield from _section(shown, section)
    yield "</body>\n</html>"


def _verdict(report: Report) -> Iterator[str]:
    found = list(findings(report))
    yield f"<h2>{f'Problems: {len(found)}' if found else 'No problem found'}</h2>"
    if found:
        yield f'<ul class="bad">{"".join(f"<li>{_text(line)}</li>" for line in found)}</ul>'
    yield f'<p class="quiet">{_text(method(report))}</p>'
    told = list(advice(report))
    if told:
        yield f"<h2>Advice</h2>\n<ul>{''.join(f'<li>{_text(line)}</li>' for line in told)}</ul>"
    yield f"<p>Next: <code>{_text(command(report))}</code></p>"


def _split(split: SplitFacts, crop: int) -> Iterator[str]:
    yield f'<section class="split">\n<h3>{_text(split.name)}: {split.pictures:,} pictures</h3>\n<dl>'
    yield from (f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in rows(split, crop))
    yield "</dl>"
    yield from _bars("Shorter side", split.shorter_sides)
    if split.classes is None:
        yield '<p class="quiet">No classes.</p>'
    else:
        counts = set(split.classes.values())
        each = f", {counts.pop():,} pictures each" if len(counts) == 1 else ""
        yield from _bars(f"Classes: {len(split.classes):,}{each}", split.classes)
    yield "</section>"


def _bars(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        return
    most = max(counts.values())
    bars = [
        f'<span>{_text(name)}</span><i style="width:{100 * count / most:.1f}%"></i><span>{count:,}</span>'
        for name, count in counts.items()
    ]
    yield f'<h3>{_text(title)}</h3>\n<div class="bars">{"".join(bars[:_MOST_BARS])}</div>'
    if left := bars[_MOST_BARS:]:
        yield f'<details><summary>{len(left):,} more</summary><div class="bars">{"".join(left)}</div></details>'


def _section(shown: Shown, section: Section) -> Iterator[str]:
    yield f"<h2>{_text(section.title)}</h2>"
    if section.remark:
        yield f'<p class="quiet">{_text(section.remark)}</p>'
    yield "<div>"
    for row in section.rows:
        yield f'<div class="group">{"".join(_figure(shown, tile) for tile in row)}</div>'
    yield "</div>"


def _figure(shown: Shown, tile: Tile) -> str:
    name = _text(tile.item.name)
    image = shown.image(tile)
    if image is None:
        content = '<div class="none">unreadable</div>'
    else:
        written = io.BytesIO()
        image.save(written, "JPEG", quality=80)
        address = base64.b64encode(written.getvalue()).decode()
        content = f'<img src="data:image/jpeg;base64,{address}" alt="{name}" title="{name}">'
    kind = ' class="problem"' if tile.problem else ""
    return f"<figure{kind}>{content}<figcaption>{_text(tile.caption)}</figcaption></figure>"


def _text(words: str) -> str:
    return html.escape(printable(words))
