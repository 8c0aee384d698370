"""Tokens and their ids, the added tokens among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfbook.checks import require
from tfbook.tokenizers.special_tokens import AddedToken, AddedTokens


class Vocabulary:
    """The ids ``0 … size - 1`` and their tokens: those of the model and the added ones.

    Args:
        ids: the id of every token of the model.
        added_tokens: tokens that are matched in texts as they stand. They may be among ``ids``
            (then with the same id) or follow them.

    Raises:
        ValueError: the ids, with those of the added tokens, are not ``0 … n - 1``, each once.
        ValueError: an added token has another id in ``ids``, or :class:`AddedTokens` refuses it.

    Example:
        >>> small = Vocabulary({"a": 0, "b": 1}, [AddedToken(content="<end>", id=2)])
        >>> small.size, small.token_to_id("<end>"), small.tokens
        (3, 2, ['a', 'b', '<end>'])

    Chapter: 03.
    """

    def __init__(self, ids: Mapping[str, int], added_tokens: Sequence[AddedToken] = ()) -> None:
        self.model_ids: dict[str, int] = dict(ids)
        self.added = AddedTokens(added_tokens)
        every = dict(self.model_ids)
        for token in added_tokens:
            require(
                every.setdefault(token.content, token.id) == token.id,
                f"added token {token.content!r} has id {token.id}, but vocab gives it "
                f"{every[token.content]}; give it the same id in both",
            )
        tokens: list[str | None] = [None] * len(every)
        for token_text, index in every.items():
            if not 0 <= index < len(every) or tokens[index] is not None:
                raise ValueError(
                    f"vocab gives {token_text!r} the id {index}, but the {len(every)} tokens must "
                    f"have the ids 0..{len(every) - 1}, each once; number them anew"
                )
            tokens[index] = token_text
        self.tokens: list[str] = [token for token in tokens if token is not None]
        self._ids = every

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.tokens)

    def token_to_id(self, token: str) -> int | None:
        """Give a token's id, or None where there is no such token.

        Args:
            token: as the vocabulary spells it.

        Returns:
            The id.
        """
        return self._ids.get(token)

    def id_to_token(self, index: int) -> str:
        """Give the token of an id.

        Args:
            index: the id.

        Returns:
            The token as the vocabulary spells it.

        Raises:
            ValueError: there is no such id.
        """
        require(
            0 <= index < self.size,
            f"index={index} must lie in 0..{self.size - 1}; take ids from this tokenizer",
        )
        return self.tokens[index]

    def check_id(self, name: str, index: int | None) -> int | None:
        """Give back the id of a special role, once it is known to be one.

        Args:
            name: of the argument, as ``"pad_id"``.
            index: the id, or None.

        Returns:
            ``index``.

        Raises:
            ValueError: there is no such id.
        """
        require(
            index is None or 0 <= index < self.size,
            f"{name}={index} must lie in 0..{self.size - 1}; give the id of a token, or None",
        )
        return index
