"""Turn a key of the bibliography into words and a link to its entry."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

PAGE = "book/references"


def keys(source: str) -> list[str]:
    """The keys of a claim's source: one, or several between commas."""
    return [key.strip() for key in source.split(",")]


def words(app: Sphinx, key: str) -> str:
    """A key as a reader knows it: "Vaswani et al. 2017"."""
    from pybtex.database import parse_file

    path = Path(app.srcdir) / "book" / "references.bib"
    entries = parse_file(str(path)).entries if path.is_file() else {}
    if key not in entries:
        return key
    people = entries[key].persons.get("author") or entries[key].persons.get("editor") or []
    names = [" ".join(p.prelast_names + p.last_names).strip("{}") for p in people]
    first = re.sub(r"[{}]", "", names[0]) if names else key
    if len(names) == 2:
        first = f"{first} and {names[1]}"
    elif len(names) > 2:
        first = f"{first} et al."
    return f"{first} {entries[key].fields.get('year', '')}".strip()


def anchor(app: Sphinx, key: str) -> str:
    """The anchor of a key on the page of references; empty where it has none."""
    domain = app.env.domains.get("cite")
    found = [c for c in getattr(domain, "citations", ()) if c.key == key]
    return found[0].citation_id if found else ""


def uri(app: Sphinx, start: str, key: str) -> str | None:
    """The address of an entry, seen from a page."""
    if PAGE not in app.env.found_docs:
        return None
    place = anchor(app, key)
    page = app.builder.get_relative_uri(start, PAGE)
    return f"{page}#{place}" if place else page


def cited(app: Sphinx, start: str, source: str) -> list[nodes.Node]:
    """ "looked up · Vaswani et al. 2017", linked; several between semicolons."""
    found: list[nodes.Node] = [nodes.emphasis("", "looked up")]
    for i, key in enumerate(keys(source)):
        target = uri(app, start, key)
        text = nodes.Text(words(app, key))
        entry = nodes.reference("", "", text, internal=True, refuri=target) if target else text
        found += [nodes.Text("; " if i else " · "), entry]
    return found
