"""matplotlib's SVG made fit for a page: the theme's colours, the page's font, ids of its own."""

import copy
import re
from collections.abc import Callable
from functools import cached_property
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ld4mrec.report.palette import DARK, LIGHT, NAMES

SPACE = "http://www.w3.org/2000/svg"
SIZE = ("width", "height", "version")  # of a file; in a page the style sheet decides
LINK = "{http://www.w3.org/1999/xlink}href"
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
ElementTree.register_namespace("", SPACE)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


class Svg:
    """A figure of matplotlib's, from its file for a page, which has the caption below, and from
    the one that stands alone, where it differs. name: what their ids begin with. Every colour is
    an attribute and a class, `fill-ink`, by which a style sheet changes it.
    """

    def __init__(
        self, raw: bytes, name: str, title: str, description: str, alone: bytes | None = None
    ) -> None:
        self._name, self._title, self._description = name, title, description
        self._root, self._alone = self._mended(raw), self._mended(alone or raw)

    def _mended(self, raw):
        root = ElementTree.fromstring(raw)
        self._drop_style_and_metadata(root)
        self._own_ids(root)
        for element in root.iter():
            self._restyle(element)
        return root

    @cached_property
    def inline(self) -> str:
        """The element to put into a page that defines the colours as custom properties."""
        root = copy.copy(self._root)
        own = {key: value for key, value in root.attrib.items() if key not in SIZE}
        root.attrib = own | {"role": "img", "aria-label": self._description}
        return _text(root)

    @cached_property
    def file(self) -> str:
        """The file on its own: dark where its reader is."""
        root = copy.copy(self._alone)
        style = f"@media (prefers-color-scheme: dark) {{ {rules(DARK.get)} }}"
        texts = {"title": self._title, "desc": self._description, "style": style}
        root[:0] = [Element(_tag(name)) for name in texts]
        for element, text in zip(root, texts.values(), strict=False):
            element.text = text
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{_text(root)}\n'

    @staticmethod
    def _drop_style_and_metadata(root: Element) -> None:
        """matplotlib's style sheet is for `*`: in a page, for everything."""
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag in (_tag("style"), _tag("metadata")):
                    parent.remove(child)
        root.set("stroke-linejoin", "round")
        root.set("stroke-linecap", "butt")
        root.set("font-family", FONTS)

    def _own_ids(self, root: Element) -> None:
        """Ids that something refers to begin with the figure's name; the others go."""
        text = ElementTree.tostring(root, encoding="unicode")
        used = set(re.findall(r'(?:url\(|")#([\w.-]+)', text))
        for element in root.iter():
            own = element.attrib.pop("id", None)
            if own in used:
                element.set("id", f"{self._name}-{own}")
            if LINK in element.attrib:
                element.set(LINK, f"#{self._name}-{element.get(LINK)[1:]}")
            if "clip-path" in element.attrib:
                clip = element.get("clip-path").replace("url(#", f"url(#{self._name}-")
                element.set("clip-path", clip)

    @staticmethod
    def _restyle(element: Element) -> None:
        """The style as attributes, which a page's security policy allows, and as classes."""
        style = element.attrib.pop("style", "")
        classes = []
        for key, value in (part.split(":", 1) for part in style.split(";") if part.strip()):
            key, value = key.strip(), value.strip()
            if key == "font-family":
                continue
            if value.startswith("#"):
                classes.append(f"{key}-{NAMES[value]}")
            element.set(key, value)
        if classes:
            element.set("class", " ".join(classes))


def rules(colour: Callable[[str], str]) -> str:
    """The style sheet of the classes; colour: name -> CSS colour."""
    return " ".join(
        f".{key}-{name} {{ {key}: {colour(name)}; }}"
        for name in LIGHT
        for key in ("fill", "stroke")
    )


def _tag(name: str) -> str:
    return f"{{{SPACE}}}{name}"


def _text(root: Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")
