"""The compiled rules of normalisation, against sentencepiece."""

from __future__ import annotations

import re

import pytest
import unigram
from awkward_lines import awkward_lines
from tokenizers import normalizers

from tfbook.tokenizers import Charsmap
from tfbook.tokenizers.sentencepiece_model import read_sentencepiece


def table(tmp_path: object, **options: str) -> Charsmap:
    path = f"{tmp_path}/m.model"
    with open(path, "wb") as file:
        file.write(unigram.trained(**options))
    return Charsmap(read_sentencepiece(path).charsmap)


@pytest.mark.parametrize("rule", ["nmt_nfkc", "nfkc_cf"])
def test_normalises_as_sentencepiece(rule: str, tmp_path: object) -> None:
    ours = table(tmp_path, normalization_rule_name=rule)
    theirs = unigram.library(normalization_rule_name=rule)
    single = [f"a{chr(code)}b" for code in range(1, 0x3400, 31) if not 0xD800 <= code < 0xE000]
    for line in [*awkward_lines(120), *single]:
        normal = ours.normalize(line)
        blanks = re.sub(" +", " ", normal).strip(" ")
        assert theirs.normalize(line) == ("▁" + blanks.replace(" ", "▁") if blanks else "")
        changes = list(ours.changes(line))
        assert "".join(new for new, _, _ in changes) == normal
        assert [start for _, start, _ in changes[1:]] == [stop for _, _, stop in changes[:-1]]


def test_base64_there_and_back(tmp_path: object) -> None:
    ours = table(tmp_path)
    again = Charsmap.from_base64(ours.to_base64())
    assert again == ours
    assert hash(again) == hash(ours)
    assert ours != Charsmap.from_base64("BAAAAAAAAAA=")
    theirs = normalizers.Precompiled(ours.data)
    for text in ("ﬁve ②", "ｆｕｌｌ　ｗｉｄｔｈ", "cafe\u0301", "a\tb"):
        assert theirs.normalize_str(text) == again.normalize(text)


def test_damaged() -> None:
    with pytest.raises(ValueError, match="data of 3 bytes is no precompiled_charsmap, or cut off"):
        Charsmap(b"abc")
    with pytest.raises(ValueError, match="data of 12 bytes is no precompiled_charsmap"):
        Charsmap(b"\xff\xff\x00\x00" + bytes(8))
    with pytest.raises(ValueError, match=r"text='\?\?' is no base64"):
        Charsmap.from_base64("??")
    with pytest.raises(ValueError, match="data of 3 bytes"):
        Charsmap.from_base64("AAAA")
