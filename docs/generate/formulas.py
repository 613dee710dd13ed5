"""Formulas as MathML, which every browser draws by itself: no script and no font is fetched.

A block of code in the language `math` is a displayed formula, and `$...$` one in a line, as code hosts show them too.
"""

import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

_BLOCK = re.compile(r"^```math\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
_INLINE = r"(?<![\\\w$])\$(?![\s\d])([^$\n]*[^$\s\\])\$(?![\w$])"


class _Blocks(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        text = _BLOCK.sub(self._block, "\n".join(lines))
        return text.split("\n")

    def _block(self, found: re.Match[str]) -> str:
        assert self.md is not None
        return self.md.htmlStash.store(f'<p class="formula">{convert(found[1], display="block")}</p>')


class _Inline(InlineProcessor):
    def handleMatch(self, found: re.Match[str], _: str) -> tuple[str, int, int]:  # type: ignore[override] # noqa: N802
        return self.md.htmlStash.store(convert(found[1])), found.start(0), found.end(0)


class Formulas(Extension):
    """Formulas in Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Register both kinds: blocks before those of code, lines before backslashes are read."""
        md.preprocessors.register(_Blocks(md), "formula_blocks", 28)
        md.inlinePatterns.register(_Inline(_INLINE, md), "formulas", 185)


def on_config(config: Any) -> Any:
    """Add the extension."""
    config.markdown_extensions.append(Formulas())
    return config
