"""Docstrings are part of the book: complete, and their examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import re

import pytest
from documented import Documented, Function, decorators, documented, parameters

EXAMPLES = [item for item in documented() if ">>>" in item.docstring]
# The checkers of exercises are called by number only; their messages are their documentation.
CHECKERS = re.compile(r"tfbook\.book\.exercises\.ch\d\d$")
PUBLIC = [
    item
    for item in documented()
    if item.is_public and item.qualname and not item.is_overload and not CHECKERS.match(item.module)
]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def named(items: list[Documented]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("item", items, ids=[item.name for item in items])


@named(EXAMPLES)
def test_example_runs(
    item: Documented, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(request.getfixturevalue("tmp_path"))
    names = dict(vars(importlib.import_module(item.module)))
    names["getfixture"] = request.getfixturevalue  # as pytest offers it to doctests
    example = doctest.DocTestParser().get_doctest(
        item.docstring, names, item.name, str(item.path), item.node.body[0].lineno
    )
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=said.append)
    assert result.failed == 0, "".join(said)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize("item", [i for i in documented() if not i.qualname], ids=lambda i: i.name)
def test_module_says_what_it_is(item: Documented) -> None:
    assert item.docstring


@named(PUBLIC)
def test_docstring_is_complete(item: Documented) -> None:
    lacking = list(gaps(item))
    assert not lacking, f"{item.path.name}:{item.node.lineno} {item.name}: {'; '.join(lacking)}"


def gaps(item: Documented) -> list[str]:
    """What the docstring of a public object lacks."""
    if not item.docstring:
        return ["no docstring"]
    node = item.node
    found: list[str] = []
    first = item.docstring.split("\n\n")[0].strip()
    if not first.endswith((".", ":", "`")):
        found.append("the first sentence does not end")
    if (
        item.is_exported
        and not item.module.startswith(("tfbook.__main__", "tfbook.commands"))
        and needs_example(node)
        and ">>>" not in item.docstring
    ):
        found.append("no example")
    if isinstance(node, ast.ClassDef):
        return found + class_gaps(item, node)
    return found + function_gaps(item, node)


def needs_example(node: ast.AST) -> bool:
    """Exceptions, protocols and plain records have nothing to run."""
    if not isinstance(node, ast.ClassDef):
        return True
    bases = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
    record = "dataclass" in decorators(node) and not any(
        isinstance(member, Function) for member in node.body
    )
    return not record and not any(
        b == "Protocol" or b.endswith(("Error", "Exception")) for b in bases
    )


def class_gaps(item: Documented, node: ast.ClassDef) -> list[str]:
    if "dataclass" in decorators(node):
        fields = [
            ast.unparse(member.target) for member in node.body if isinstance(member, ast.AnnAssign)
        ]
        return [
            f"field {field} is not explained" for field in fields if field not in item.docstring
        ]
    makers = [m for m in node.body if isinstance(m, Function) and m.name == "__init__"]
    return [gap for maker in makers for gap in undocumented(item, maker)]


def function_gaps(item: Documented, node: Function) -> list[str]:
    if item.owner is not None and "\n" not in item.docstring and len(parameters(node)) <= 2:
        return []  # a short method of a documented class, said in one sentence
    found = undocumented(item, node)
    result = "None" if node.returns is None else ast.unparse(node.returns)
    returns = result not in {"None", "NoReturn"} and "property" not in decorators(node)
    if returns and not item.section("Returns") and not item.section("Yields"):
        found.append("no Returns")
    calls = {
        ast.unparse(part.func).split(".")[-1]
        for part in ast.walk(node)
        if isinstance(part, ast.Call)
    }
    raises = any(isinstance(part, ast.Raise) and part.exc is not None for part in ast.walk(node))
    checks = any(name == "require" or name.startswith("require_") for name in calls)
    if (raises or checks) and not item.raises():
        found.append("it raises, and there is no Raises")
    return found


def undocumented(item: Documented, node: Function) -> list[str]:
    """Parameters that no line of Args explains; one line may explain several."""
    heads = re.findall(r"^ {4}([\w*, ]+?)(?: \(.*\))?:", item.section("Args"), re.MULTILINE)
    explained = {name.strip(" *") for head in heads for name in head.split(",")}
    missing = [name for name in parameters(node) if name not in explained]
    return [f"argument {name} is not explained" for name in missing]
