"""Ids and tokens."""

import pytest

from tfbook.tokenizers import AddedToken
from tfbook.tokenizers.vocabulary import Vocabulary

END = AddedToken(content="<end>", id=2)


def test_added_tokens_are_among_the_ids_or_follow_them() -> None:
    follows = Vocabulary({"b": 1, "a": 0}, [END])
    among = Vocabulary({"b": 1, "a": 0, "<end>": 2}, [END])
    for made in (follows, among):
        assert made.tokens == ["a", "b", "<end>"]
        assert made.size == 3
        assert [made.token_to_id(token) for token in ("a", "<end>", "c")] == [0, 2, None]
        assert [made.id_to_token(index) for index in range(3)] == made.tokens
        assert made.check_id("eos_id", 2) == 2
        assert made.check_id("eos_id", None) is None
    assert follows.model_ids == {"b": 1, "a": 0}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"a": 0}, r"vocab gives '<end>' the id 2, but the 2 tokens must have the ids 0..1"),
        ({"a": 0, "b": 0}, r"vocab gives 'b' the id 0, but the 3 tokens"),
        ({"a": 0, "b": -1}, r"vocab gives 'b' the id -1"),
        ({"a": 0, "<end>": 1}, r"added token '<end>' has id 2, but vocab gives it 1"),
    ],
)
def test_bad_ids(ids: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids, [END])


@pytest.mark.parametrize("index", [-1, 3])
def test_no_such_id(index: int) -> None:
    made = Vocabulary({"a": 0, "b": 1}, [END])
    with pytest.raises(ValueError, match=rf"index={index} must lie in 0..2"):
        made.id_to_token(index)
    with pytest.raises(ValueError, match=rf"pad_id={index} must lie in 0..2"):
        made.check_id("pad_id", index)
