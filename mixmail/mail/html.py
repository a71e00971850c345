"""HTML as text: what a reader sees, with nothing loaded, run or clickable."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_HIDDEN = {"script", "style", "head", "title", "template", "noscript"}
_BLOCKS = {
    "address",
    "article",
    "blockquote",
    "body",
    "div",
    "dl",
    "dt",
    "dd",
    "fieldset",
    "footer",
    "form",
    "h1",
}
_BLOCKS |= {
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "ol",
    "pre",
    "section",
    "table",
}
_BLOCKS |= {"tr", "ul"}
_CELLS = {"td", "th"}
_PARAGRAPHS = {"p"}
_SPACE = re.compile(r"[ \t\r\n\f]+")
_DECLARATION = re.compile(r"<[!?][^<>]*>")
_TAG = re.compile(r"""</?[A-Za-z][^<>"']*(?:"[^"<]*"[^<>"']*|'[^'<]*'[^<>"']*)*>""")
_LINKS = ("http:", "https:", "mailto:", "mixmail:")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.hidden = ""  # the outermost open element of those that are not shown
        self.pre = 0
        self.link = ""
        self.link_from = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in _HIDDEN:
            self.hidden = self.hidden or tag
        elif tag == "body":
            self.hidden = ""  # a <head> that was never closed must not hide the page
        elif tag == "br":
            self.out.append("\n")
        elif tag == "img" and values.get("alt"):
            self.out.append(f"[{values['alt']}]")
        elif tag == "a":
            self.link, self.link_from = values.get("href") or "", len(self.out)
        elif tag == "li":
            self.out.append("\n- ")
        else:
            self._break(tag)
        self.pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag == self.hidden:
            self.hidden = ""
        elif tag == "a":
            if self.link.lower().startswith(_LINKS):
                shown = "".join(self.out[self.link_from :])
                if self.link not in shown:
                    self.out.append(f" <{self.link}>")
            self.link = ""
        else:
            self._break(tag)
        self.pre = max(0, self.pre - (tag == "pre"))

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.out.append("\n\n")
        elif tag in _BLOCKS:
            self.out.append("\n")
        elif tag in _CELLS:
            self.out.append(" ")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.out.append(data if self.pre else _SPACE.sub(" ", data))


def _without_comments(page: str) -> str:
    out: list[str] = []
    end = 0
    while (start := page.find("<!--", end)) >= 0 and (close := page.find("-->", start)) >= 0:
        out.append(page[end:start])
        end = close + 3
    return "".join([*out, page[end:]])


def _tidy(page: str) -> str:
    """The page with whole, simple tags only; every other "<" is text.

    html.parser takes quadratic time over tags that never end and raises AssertionError on broken
    declarations, so it gets neither.  Each pattern stops at the next "<": this takes linear time.
    """
    page = _DECLARATION.sub("", _without_comments(page))
    out: list[str] = []
    end = 0
    for tag in _TAG.finditer(page):
        out += (page[end : tag.start()].replace("<", "&lt;"), tag[0])
        end = tag.end()
    return "".join([*out, page[end:].replace("<", "&lt;")])


def html_to_text(page: str) -> str:
    """The text of an HTML page: lines for blocks, links behind their words, nothing of scripts and styles."""
    reader = _Reader()
    reader.feed(_tidy(page))
    reader.close()
    lines = [line.strip(" ") for line in "".join(reader.out).replace("\xa0", " ").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"
