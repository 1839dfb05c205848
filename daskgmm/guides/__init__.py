"""Guides: pages of Markdown, one subject each, which ``daskgmm guide`` shows and the web as well."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from daskgmm.errors import ParameterError

__all__ = ["GUIDES", "guide", "summary_of"]

GUIDES = (
    *("data", "results", "memory", "speed", "precision", "choosing-k", "gaps-and-weights"),
    *("jobs", "clusters", "from-scikit-learn", "from-spark"),
)
"""Names of the pages, in the order in which they are listed."""

_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def guide(name: str) -> str:
    """The page of a name, with its links put in words that help in a terminal.

    Raises
    ------
    ParameterError
        If there is no page of that name.
    """
    if name not in GUIDES:
        near = difflib.get_close_matches(name, GUIDES, 1, cutoff=0.4)
        way_out = f"did you mean {near[0]}?" if near else f"there are {', '.join(GUIDES)}"
        raise ParameterError(f"there is no guide {name!r}; {way_out}", "name")
    return _LINK.sub(_in_words, _page(name)).rstrip()


def summary_of(name: str) -> str:
    """The line below a page's heading."""
    return _page(name).split("\n\n", 2)[1]


def _page(name: str) -> str:
    return Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8")


def _in_words(link: re.Match[str]) -> str:
    """A link to another page as the command that shows it, and one to a file as its text."""
    text, target = link.groups()
    name = target.removesuffix(".md")
    return f"{text} (daskgmm guide {name})" if name in GUIDES else text
