"""Fold away code that only draws, imports or tests, so that a chapter reads as a text.

A click opens it; the notebook itself is untouched. The experiments stay open: what is folded
of a claim is the call that tests it, since the box below says what it tested and measured.
The cell tag ``show-input`` keeps any cell open.
"""

from __future__ import annotations

import ast

from docutils import nodes
from sphinx.application import Sphinx

SHORT = 6  # lines; a cell this short stays open
EXERCISES = {"check", "show_source"}
TESTS = {"claim", "compared"}
WORDS = {
    "figure": "the code of the figure",
    "imports": "the imports",
    "test": "how this was tested",
}


def reason(code: str, *, draws: bool) -> str | None:
    """Say what a cell does if that is a reason to fold it.

    >>> reason("import a\\n" * 9, draws=False)
    'imports'
    >>> reason("x = 1\\n" * 9, draws=True)
    'figure'
    >>> reason("def bar(ax):\\n    ax.bar(1, 1)\\n" * 9, draws=False)
    'figure'
    >>> reason("def f():\\n    return 1\\n" * 9, draws=True) is None
    True
    >>> reason("claim(\\n'b001',\\n'',\\n\\n\\n\\n)", draws=False)
    'test'
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:  # a magic of IPython
        return None
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    if len(code.splitlines()) <= SHORT or calls & EXERCISES:
        return None
    classes = any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    if functions or classes:
        only_draws = not classes and all(
            "ax" in {argument.arg for argument in node.args.args} for node in functions
        )
        return "figure" if only_draws and not calls & TESTS else None
    if calls & TESTS:
        return "test"
    if draws:
        return "figure"
    imports = sum(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)
    return "imports" if imports >= 0.6 * len(tree.body) > 0 else None


def on_read(app: Sphinx, doctree: nodes.document) -> None:
    """Mark the cells to fold; myst-nb does the folding."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") != "cell_code" or cell.get("hide_mode"):
            continue
        tags = cell.get("cell_metadata", {}).get("tags", ())
        source = cell.next_node(nodes.literal_block)
        if source is None or "show-input" in tags:
            continue
        draws = any("tfbook-figure" in node.astext() for node in cell.findall(nodes.raw))
        why = reason(source.astext(), draws=draws)
        if why is not None:
            cell["hide_mode"] = "input"
            cell["prompt_show"], cell["prompt_hide"] = f"Show {WORDS[why]}", f"Hide {WORDS[why]}"


def setup(app: Sphinx) -> None:
    """Run while a document is read; folding itself happens when it is written."""
    app.connect("doctree-read", on_read)
