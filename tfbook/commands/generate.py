"""``generate``: a language model continues, answers or talks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

LEAVE, RENEW = "/exit", "/new"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command.

    Args:
        parser: of its options.
    """
    parser.description = (
        "Print what a language model says to PROMPT, as it is written. A model that was trained to "
        "answer reads the prompt as a question, in its own form of conversation; with --raw it "
        "continues the text. Greedy unless an option asks for a draw."
    )
    parser.add_argument(
        "prompt", nargs="?", help="without one, or with -, it is read from standard input"
    )
    parser.add_argument(
        "--model",
        default="smollm2-135m-instruct",
        metavar="NAME",
        help="one of `python -m tfbook models`; default: smollm2-135m-instruct",
    )
    parser.add_argument(
        "--chat",
        action="store_true",
        help=f"talk: one line a turn; {LEAVE} or the end of the input leaves, {RENEW} forgets",
    )
    parser.add_argument("--raw", action="store_true", help="continue the text as it stands")
    parser.add_argument(
        "--max-new-tokens", type=int, default=256, metavar="N", help="at most; default: 256"
    )
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="end before this text; may be given several times",
    )
    _add_sampling_options(parser.add_argument_group("how the next token is chosen"))
    parser.add_argument(
        "--weights",
        default="float32",
        choices=["float32", "bfloat16", "int8"],
        help="smaller ones are faster; default: float32",
    )
    parser.add_argument("--device", default="cpu", help="default: cpu")


def _add_sampling_options(group: Any) -> None:
    """Describe the options that ``Sampling`` takes."""
    group.add_argument("--temperature", type=float, metavar="T", help="0 is greedy, 1 the model's")
    group.add_argument("--top-k", type=int, metavar="K", help="of the K most probable tokens")
    group.add_argument("--top-p", type=float, metavar="P", help="of the smallest set with mass P")
    group.add_argument(
        "--min-p", type=float, metavar="P", help="of those above P times the largest"
    )
    group.add_argument(
        "--repetition-penalty", type=float, default=1.0, metavar="R", help="1 is none"
    )
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text")


def run(options: argparse.Namespace) -> int:
    """Print what the model writes.

    Args:
        options: as ``add_options`` describes them.

    Returns:
        The exit status.

    Raises:
        ValueError: the model is no language model, or an option has an impossible value.
    """
    from tfbook import hub
    from tfbook.checks import require
    from tfbook.models import CausalLM

    # What may be wrong is told before the weights are loaded.
    sampling = _sampling(options)
    require(
        not (options.chat and (options.raw or options.prompt is not None)),
        "--chat reads its turns from standard input; leave out PROMPT and --raw",
    )
    prompt = None if options.chat else _prompt(options.prompt)
    loaded: Any = hub.load(options.model, weights=options.weights, device=options.device)
    require(
        isinstance(loaded.model, CausalLM),
        f"model={options.model!r} writes no text; use smollm2-135m-instruct",
    )
    writer = Writer(loaded, sampling, options.max_new_tokens, options.stop)
    if prompt is None:
        return _talk(writer)
    template = getattr(loaded.tokenizer, "chat_template", None)
    if template is None or options.raw:
        writer.write(prompt)
    else:
        writer.answer([{"role": "user", "content": prompt}])
    return 0


class Writer:
    """Writes the text of a model to standard output, as it comes.

    Args:
        pretrained: model and tokenizer.
        sampling: how a token is chosen.
        max_new_tokens: of one answer.
        stop: texts that end it.
    """

    def __init__(
        self, pretrained: Any, sampling: Any, max_new_tokens: int, stop: Sequence[str]
    ) -> None:
        self.model, self.tokenizer = pretrained.model, pretrained.tokenizer
        self.sampling, self.max_new_tokens, self.stop = sampling, max_new_tokens, stop
        self._cache: Any = None
        self._read: list[int] = []

    def remember(self) -> None:
        """Read the beginning that a text shares with the one before only once, from now on."""
        cache = self.model.new_cache(1, self.model.config.max_length)
        # One with a window cannot go back far.
        self._cache = cache if cache.window is None else None

    def answer(self, messages: Sequence[dict[str, str]]) -> str:
        """Answer a conversation, in the form in which the model knows conversations.

        Args:
            messages: the turns, of which the first are left out where they do not fit.

        Returns:
            What was written.
        """
        room = self.model.config.max_length - self.max_new_tokens
        turns = list(messages)
        while True:
            text = self.tokenizer.apply_chat_template(turns)
            if len(turns) < 3 or len(self.tokenizer.encode(text)) <= room:
                return self.write(text)
            turns = turns[2:]  # the oldest question with its answer

    def check(self) -> None:
        """Raise what every answer would raise, the shortest too; nothing is read.

        Raises:
            ValueError: the answer cannot fit the model, or an option has an impossible value.
        """
        shortest = self.tokenizer.apply_chat_template([{"role": "user", "content": "?"}])
        self._steps(list(self.tokenizer.encode(shortest)))

    def write(self, text: str) -> str:
        """Continue a text.

        Args:
            text: the prompt.

        Returns:
            What was written.
        """
        ids = list(self.tokenizer.encode(text))
        self._forget_what_differs(ids)
        written = []
        for step in self._steps(ids):
            self._read.append(int(step.ids))
            (piece,) = step.texts or ("",)
            written.append(piece)
            print(piece, end="", flush=True)
        print(flush=True)
        return "".join(written)

    def _steps(self, ids: list[int]) -> Any:
        """The steps of an answer. Arguments are checked at once, and not at the first step."""
        from tfbook.generation import stream

        return stream(
            self.model,
            [ids],
            max_new_tokens=self.max_new_tokens,
            sampling=self.sampling,
            eos_id=self._ends(),
            stop=self.stop,
            tokenizer=self.tokenizer,
            cache=self._cache,
        )

    def _forget_what_differs(self, ids: list[int]) -> None:
        """Leave in the cache what it shares with a new text, whose last token must be new."""
        if self._cache is not None:
            pairs = zip(ids[:-1], self._read[: self._cache.length], strict=False)
            self._cache.crop(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
        self._read = list(ids)

    def _ends(self) -> list[int]:
        """The tokens that end an answer, and a text."""
        named = getattr(self.tokenizer, "token_to_id", lambda token: None)("<|endoftext|>")
        return sorted({index for index in (self.tokenizer.eos_id, named) if index is not None})


def _talk(writer: Writer) -> int:
    """Answer one line after another, with what was said before in mind."""
    from tfbook.checks import require

    require(
        getattr(writer.tokenizer, "chat_template", None) is not None,
        "--chat needs a model that was trained to talk; use --model smollm2-135m-instruct",
    )
    writer.remember()
    writer.check()
    watched = sys.stdin.isatty()
    if watched:
        print(f"{LEAVE} or the end of the input leaves, {RENEW} forgets", file=sys.stderr)
    messages: list[dict[str, str]] = []
    failed = False
    while True:
        if watched:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        turn = line.strip()
        if not line or turn == LEAVE:
            # A person has seen the error; a script looks at the status.
            return 2 if failed and not watched else 0
        if turn == RENEW:
            messages = []
        elif turn:
            asked = [*messages, {"role": "user", "content": turn}]
            try:
                answer = writer.answer(asked)
            except ValueError as error:
                # A turn that is too long must not lose the conversation before it.
                print(f"error: {error}", file=sys.stderr)
                failed = True
                continue
            messages = [*asked, {"role": "assistant", "content": answer}]


def _prompt(given: str | None) -> str:
    """The prompt from the command line or standard input."""
    from tfbook.checks import require

    text = sys.stdin.read() if given in (None, "-") else given or ""
    # A line's end belongs to the line, and not to the prompt.
    text = text.removeprefix("\ufeff").removesuffix("\n").removesuffix("\r")
    require(
        text.strip() != "",
        "the prompt is empty or blank; give a text to continue or to answer",
    )
    return text


def _sampling(options: argparse.Namespace) -> Any:
    """How the options want the next token chosen."""
    from tfbook.generation import Sampling

    return Sampling(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
        seed=options.seed,
    )
