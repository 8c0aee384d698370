"""The text that unigram models cut, by hand and there and back."""

from __future__ import annotations

import unicodedata

import pytest
from awkward_lines import awkward_lines

from tfbook.tokenizers import NFKC, UnigramText


def test_by_hand() -> None:
    assert UnigramText().normalize("  a   b ") == "▁a▁b"
    assert UnigramText(collapse=False).normalize(" a  b") == "▁▁a▁▁b"
    assert UnigramText(prefix=False).normalize("a b") == "a▁b"
    assert UnigramText().normalize("   ") == UnigramText().normalize("") == ""
    assert UnigramText().normalize("▁a") == "▁▁a"
    assert UnigramText(NFKC()).normalize("ﬁ\u3000②\tx") == "▁fi▁2\tx"


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("collapse", [True, False])
@pytest.mark.parametrize("rules", [None, NFKC()])
def test_places(prefix: bool, collapse: bool, rules: NFKC | None) -> None:
    text = UnigramText(rules, prefix=prefix, collapse=collapse)
    for line in awkward_lines(150):
        normal, places = text.normalize_with_places(line)
        assert normal == text.normalize(line)
        assert len(places) == len(normal)
        for letter, (start, stop) in list(zip(normal, places, strict=True))[prefix:]:
            source = unicodedata.normalize("NFKC", line[start:stop]) if rules else line[start:stop]
            assert letter.replace("▁", " ") in source.replace("▁", " ")
        assert places == sorted(places)


def test_equality() -> None:
    assert UnigramText(NFKC()) == UnigramText(NFKC())
    assert hash(UnigramText(NFKC())) == hash(UnigramText(NFKC()))
    assert UnigramText() != UnigramText(NFKC())
    assert UnigramText() != UnigramText(prefix=False)
    assert NFKC() != "NFKC"
    assert hash(NFKC()) == hash(NFKC())
