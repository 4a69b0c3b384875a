"""Names and sentences inside Markdown: in a README, and in MLflow's notes."""

import re
from typing import Final

__all__ = ["markdown"]

_MARKDOWN: Final = re.compile(r"[\\`*<|~]|(?<![^\W_])_|_(?![^\W_])|&(?=[\w#])|\](?=[(\[:])")
"""What Markdown and HTML interpret inside a line; not an underscore inside a word, nor a bracket without a target."""


def markdown(text: str) -> str:
    r"""Return a text with what Markdown and HTML would interpret escaped, in one line.

    Examples:
        >>> print(markdown("a|b <img src=x> [c](d) a_b [2 of 3]"))
        a\|b \<img src=x> [c\](d) a_b [2 of 3]
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))
