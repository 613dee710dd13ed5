"""What Markdown has no words for: formulas, and the brackets of command lines.

A block of code in the language `math` is a displayed formula, and `$...$` one in a line, as code hosts show them too.
Both become MathML, which every browser draws by itself: no script and no font is fetched. What may be left out of a
MODEL, such as `[@REVISION]`, is text and no link.
"""

import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

_BLOCK = re.compile(r"^( *)```math\n(.*?)\n\1```$", re.DOTALL | re.MULTILINE)
_INLINE = r"(?<![\\\w$])\$(?![\s\d])([^$\n]*[^$\s\\])\$(?![\w$])"
_OPTIONAL = r"(?:\[[/@#][A-Z]+\])+"


class _Blocks(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        return _BLOCK.sub(self._block, "\n".join(lines)).split("\n")

    def _block(self, found: re.Match[str]) -> str:
        formula = convert(re.sub(r"\s+", " ", found[2]), display="block")
        return found[1] + self.md.htmlStash.store(f'<p class="formula">{formula}</p>')


class _Inline(InlineProcessor):
    def handleMatch(self, found: re.Match[str], _: str) -> tuple[str, int, int]:  # type: ignore[override]
        return self.md.htmlStash.store(convert(found[1])), found.start(0), found.end(0)


class _Optional(InlineProcessor):
    def handleMatch(self, found: re.Match[str], _: str) -> tuple[str, int, int]:  # type: ignore[override]
        return self.md.htmlStash.store(found[0]), found.start(0), found.end(0)


class Markup(Extension):
    """Formulas and the brackets of command lines."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register them: blocks before those of code, lines before backslashes and links are read."""
        md.preprocessors.register(_Blocks(md), "formula_blocks", 28)
        md.inlinePatterns.register(_Inline(_INLINE, md), "formulas", 185)
        md.inlinePatterns.register(_Optional(_OPTIONAL, md), "optional_parts", 184)


def on_config(config: Any) -> Any:
    """Add the extension."""
    config.markdown_extensions.append(Markup())
    return config
