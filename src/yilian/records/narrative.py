"""Narrative: the little XHTML that a FHIR `div` may hold, and nothing that a browser would run or fetch.

Source   R4 Narrative, constraints txt-1 and txt-2; the elements and attributes are those of txt-1. Beyond it: no document type, no
         processing instruction, and links only to the schemes below (txt-1 is silent on `javascript:`).
"""

import re
from html.entities import name2codepoint
from typing import Final
from xml.parsers import expat

ELEMENTS: Final = frozenset(
    {"a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd", "dfn", "div", "dl"}
    | {"dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "q", "samp", "small", "span"}
    | {"strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "ul", "var"}
)
ATTRIBUTES: Final = frozenset(
    {"abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign", "cellpadding", "cellspacing", "cellvalign"}
    | {"char", "charoff", "charset", "cite", "class", "colspan", "compact", "coords", "dir", "frame", "headers", "height", "href"}
    | {"hreflang", "hspace", "id", "lang", "longdesc", "name", "nowrap", "rel", "rev", "rowspan", "rules", "scope", "shape", "span"}
    | {"src", "start", "style", "summary", "tabindex", "title", "type", "valign", "value", "vspace", "width", "xmlns", "xml:lang"}
    | {"xml:space"}
)
_ADDRESS = re.compile(r"(?i)(https?:|mailto:|tel:|urn:|#|data:image/(png|gif|jpe?g);|[^:]*$|[^:/?#]*[/?#])")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})
XHTML = "http://www.w3.org/1999/xhtml"


class _Refused(Exception):
    """Carries one sentence out of the parser's callbacks."""


def _numbered(match: "re.Match[str]") -> str:
    name = match.group(1)
    return match.group(0) if name in _XML_ENTITIES or name not in name2codepoint else f"&#{name2codepoint[name]};"


def refusal(div: str) -> str | None:
    """Return why `div` may not be stored as a narrative, or None."""
    parser = expat.ParserCreate()
    depth, seen = 0, False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, seen
        if depth == 0 and (name != "div" or attributes.get("xmlns") != XHTML):
            raise _Refused("The narrative is not a div in the XHTML namespace.")
        depth += 1
        if name not in ELEMENTS:
            raise _Refused("The narrative has an element outside the allow-list of txt-1.")
        for key, value in attributes.items():
            if key not in ATTRIBUTES:
                raise _Refused("The narrative has an attribute outside the allow-list of txt-1.")
            if key in {"href", "src", "cite", "longdesc"} and not _ADDRESS.match("".join(value.split())):
                raise _Refused("The narrative links to a scheme that is not allowed.")
            if key == "style" and re.search(r"(?i)url\s*\(|expression\s*\(|@import|\\", value):
                raise _Refused("The narrative's style fetches or runs something.")
        seen = seen or (name == "img" and "src" in attributes)

    def text(data: str) -> None:
        nonlocal seen
        seen = seen or not data.isspace()

    def no(*_anything: object) -> None:
        raise _Refused("The narrative has a document type, an entity or a processing instruction.")

    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ProcessingInstructionHandler = no
    try:
        parser.Parse(_ENTITY.sub(_numbered, div), True)  # noqa: FBT003 - expat takes it by position
    except _Refused as why:
        return str(why)
    except (expat.ExpatError, UnicodeEncodeError):
        return "The narrative is not well-formed XHTML."
    return None if seen else "The narrative says nothing (txt-2)."
