"""Token after token turned into text that can be shown at once."""

from __future__ import annotations

from collections.abc import Sequence

from tfbook.checks import require
from tfbook.generation.protocols import Decoder

#: What decoders put where bytes are no character, or not yet.
REPLACEMENT = "\ufffd"


class TextPieces:
    """Give each new token's text, never half a character and nothing of a stop string.

    A character whose bytes are spread over tokens appears with the last of them. The end of the
    text that may be the beginning of a stop string is held back until that is decided; it may
    begin and end anywhere in tokens. What is shown is never taken back, so the tokenizer must
    only append when a token is added, as all of this package do.

    Args:
        tokenizer: that decodes.
        stop: strings at which the text ends; they are not shown.

    Raises:
        ValueError: a stop string is empty, or ``stop`` is one string.

    Example:
        >>> class Bytes:
        ...     def decode(self, ids):
        ...         return bytes(ids).decode("utf-8", errors="replace")
        >>> pieces = TextPieces(Bytes(), stop=["END"])
        >>> [pieces.push(byte) for byte in "é EN.".encode()]
        ['', 'é', ' ', '', '', 'EN.']

    Source: none. Chapter: 23.
    """

    def __init__(self, tokenizer: Decoder, *, stop: Sequence[str] = ()) -> None:
        require(not isinstance(stop, str), f"stop={stop!r} is one string; write a list of strings")
        for string in stop:
            require(
                isinstance(string, str) and string != "",
                f"stop holds {string!r}, but each must be a string that is not empty",
            )
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        #: The stop string that was found, or None.
        self.stopped_by: str | None = None
        # Decoding starts at a token border a little before the new token: some tokenizers treat
        # the first token of a text differently from the others.
        self._window: list[int] = []
        self._border, self._decoded = 0, 0
        self._held = ""

    def push(self, token: int) -> str:
        """Add a token.

        Args:
            token: its id.

        Returns:
            The text that can be shown now, often of this token, empty after a stop string.
        """
        if self.stopped_by is not None:
            return ""
        self._window.append(token)
        text = self._text(self._window)
        new = text.rstrip(REPLACEMENT)[self._decoded :]
        self._decoded += len(new)
        if not text.endswith(REPLACEMENT):
            self._window = self._window[self._border :]
            self._border = len(self._window)
            self._decoded = len(self._text(self._window))
        return self._release(self._held + new)

    def flush(self) -> str:
        """Give what was held back, at the end of the text."""
        if self.stopped_by is not None:
            return ""
        rest = self._held + self._text(self._window)[self._decoded :]
        self._window, self._border, self._decoded, self._held = [], 0, 0, ""
        return rest

    def _text(self, ids: list[int]) -> str:
        # The joining lets decoders give symbols as well as a string.
        return "".join(self._tokenizer.decode(ids))

    def _release(self, text: str) -> str:
        if not self._stop:
            return text
        found = [(at, stop) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            at, self.stopped_by = min(found, key=lambda place: place[0])
            self._held = ""
            return text[:at]
        n_held = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str) -> int:
    """How long the longest end of ``text`` is with which ``stop`` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
