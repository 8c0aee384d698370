"""``generate``: streams, stops, talks, and tells what is wrong; with small models and the real one.

Most tests run the command in this process on a small model that is patched in.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from parity import randomized
from torch import nn

import tfbook
from tfbook import hub
from tfbook.__main__ import main
from tfbook.commands import generate as command
from tfbook.generation import Sampling, generate
from tfbook.models import CausalLM, CausalLMConfig, StackConfig
from tfbook.tokenizers import AddedToken, BPETokenizer, CharacterTokenizer

ROOT = Path(tfbook.__file__).parents[1]
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role[0] }}:{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>a:{% endif %}"
)


def small_model(*, chat: bool = True, max_length: int = 200) -> hub.Pretrained:
    trained = BPETokenizer.train(["only bytes"], vocab_size=256)
    vocab = {trained.id_to_token(i): i for i in range(256)} | {"<s>": 256, "</s>": 257}
    added = [AddedToken(content="<s>", id=256), AddedToken(content="</s>", id=257)]
    tokenizer = BPETokenizer(
        vocab=vocab,
        merges=[],
        added_tokens=added,
        eos_id=257,
        chat_template=TEMPLATE if chat else None,
    )
    stack = StackConfig(d_model=12, n_heads=3, d_ff=24, n_layers=1, placement="pre")
    config = CausalLMConfig(vocab_size=258, decoder=stack, max_length=max_length)
    return hub.Pretrained(model=randomized(CausalLM(config)), tokenizer=tokenizer, card={})


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> hub.Pretrained:
    model = small_model()
    monkeypatch.setattr(hub, "load", lambda name, **_: model)
    return model


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def answer(loaded: hub.Pretrained, prompt: str, n: int, **sampling: float) -> str:
    """What the model writes, by ``generate`` itself."""
    ids = [loaded.tokenizer.encode(prompt)]
    settings = Sampling(**sampling)
    made = generate(
        loaded.model,
        ids,
        max_new_tokens=n,
        sampling=settings,
        eos_id=257,
        tokenizer=loaded.tokenizer,
    )
    assert made.texts is not None
    return made.texts[0]


def test_a_question_goes_through_the_template(
    loaded: hub.Pretrained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "Why?", "--max-new-tokens", "9"]) == 0
    assert capsys.readouterr().out == answer(loaded, "<s>u:Why?</s><s>a:", 9) + "\n"
    assert main(["generate", "Why?", "--max-new-tokens", "9", "--raw"]) == 0
    assert capsys.readouterr().out == answer(loaded, "Why?", 9) + "\n"


def test_a_model_without_a_template_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = small_model(chat=False)
    monkeypatch.setattr(hub, "load", lambda name, **_: plain)
    assert main(["generate", "In the", "--max-new-tokens", "9"]) == 0
    assert capsys.readouterr().out == answer(plain, "In the", 9) + "\n"
    give(monkeypatch, "Hello\n")
    assert main(["generate", "--chat"]) == 2
    assert "error: --chat needs a model that was trained to talk" in capsys.readouterr().err


def test_a_model_of_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = CharacterTokenizer("abcd ")
    stack = StackConfig(d_model=12, n_heads=3, d_ff=24, n_layers=1, placement="pre")
    config = CausalLMConfig(vocab_size=letters.vocab_size, decoder=stack)
    own = hub.Pretrained(model=randomized(CausalLM(config)), tokenizer=letters, card={})
    monkeypatch.setattr(hub, "load", lambda name, **_: own)
    assert main(["generate", "a cab", "--max-new-tokens", "20"]) == 0
    assert set(capsys.readouterr().out) <= set("abcd \n")


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_the_prompt_from_standard_input(
    loaded: hub.Pretrained,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    give(monkeypatch, "two\nlines\r\n")
    assert main(["generate", *arguments, "--raw", "--max-new-tokens", "5"]) == 0
    assert capsys.readouterr().out == answer(loaded, "two\nlines", 5) + "\n"


def test_characters_are_written_whole(
    monkeypatch: pytest.MonkeyPatch, loaded: hub.Pretrained
) -> None:
    """A model that can only say é, whose two bytes are two tokens."""
    ids = loaded.tokenizer.encode("é")
    assert len(ids) == 2
    turns = {ids[1]: ids[0], ids[0]: ids[1]}

    class Says(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return super().write(text)

    read: list[int] = []

    def note(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        read.append(int(arguments[0][0, -1]))

    def say(module: nn.Module, arguments: tuple, logits: torch.Tensor) -> torch.Tensor:
        wanted = torch.zeros_like(logits)
        wanted[..., turns.get(read[-1], ids[0])] = 9
        return wanted

    loaded.model.embedding.register_forward_pre_hook(note)
    loaded.model.head.register_forward_hook(say)
    pieces: list[str] = []
    monkeypatch.setattr(sys, "stdout", Says())
    assert main(["generate", "x", "--max-new-tokens", "6"]) == 0
    assert "".join(pieces) == "ééé\n"
    assert {piece for piece in pieces if piece} == {"é", "\n"}


def test_sampling_options_and_seeds(
    loaded: hub.Pretrained, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--temperature", "2", "--top-k", "50", "--top-p", "0.9", "--min-p", "0.01"]
    options += ["--repetition-penalty", "1.3", "--raw", "--max-new-tokens", "12"]
    texts = []
    for seed in ("1", "1", "2"):
        assert main(["generate", "x", *options, "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    settings = dict(temperature=2.0, top_k=50, top_p=0.9, min_p=0.01, repetition_penalty=1.3)
    assert texts[0] == texts[1] == answer(loaded, "x", 12, **settings, seed=1) + "\n"
    assert texts[0] != texts[2]


def test_stop_texts(loaded: hub.Pretrained, capsys: pytest.CaptureFixture[str]) -> None:
    whole = answer(loaded, "x", 12)
    stop = whole[4:6]
    assert main(["generate", "x", "--raw", "--max-new-tokens", "12", "--stop", stop]) == 0
    assert capsys.readouterr().out == whole[: whole.index(stop)] + "\n"


def test_chat_remembers_forgets_and_is_left(
    loaded: hub.Pretrained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = answer(loaded, "<s>u:one</s><s>a:", 5)
    two = answer(loaded, f"<s>u:one</s><s>a:{one}</s><s>u:two</s><s>a:", 5)
    give(monkeypatch, "one\n\n two \n/new\none\n/exit\nnever read\n")
    assert main(["generate", "--chat", "--max-new-tokens", "5"]) == 0
    assert capsys.readouterr().out == f"{one}\n{two}\n{one}\n"
    give(monkeypatch, "one")  # the end of the input leaves too
    assert main(["generate", "--chat", "--max-new-tokens", "5"]) == 0
    assert capsys.readouterr().out == f"{one}\n"


def test_chat_reads_every_token_once(
    loaded: hub.Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def count(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        read.append(arguments[0].shape[1])

    loaded.model.embedding.register_forward_pre_hook(count)
    give(monkeypatch, "one\ntwo\n/new\ntwo\n")
    assert main(["generate", "--chat", "--max-new-tokens", "5"]) == 0
    prompts = [n for n in read if n > 1]
    first, second, renewed = prompts
    # The words, and what stands around them; after /new, no more than <s>u: is the same.
    assert first == len(loaded.tokenizer.encode("<s>u:one</s><s>a:"))
    assert second < first + 5
    assert renewed == first - 3


def test_chat_forgets_the_oldest_turns_when_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = small_model(max_length=60)
    monkeypatch.setattr(hub, "load", lambda name, **_: short)
    give(monkeypatch, "a question of some length\n" * 5)
    assert main(["generate", "--chat", "--max-new-tokens", "5"]) == 0
    assert len(capsys.readouterr().err) == 0


def test_chat_goes_on_after_a_turn_that_is_too_long(
    loaded: hub.Pretrained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = answer(loaded, "<s>u:one</s><s>a:", 5)
    two = answer(loaded, f"<s>u:one</s><s>a:{one}</s><s>u:two</s><s>a:", 5)
    give(monkeypatch, f"one\n{'x' * 300}\ntwo\n")
    assert main(["generate", "--chat", "--max-new-tokens", "5"]) == 2
    printed = capsys.readouterr()
    assert printed.out == f"{one}\n{two}\n"
    assert printed.err.count("error: ") == 1
    assert "max_length=200" in printed.err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--max-new-tokens", "9000"], "max_length=200"),
        (["--max-new-tokens", "199"], "max_length=200"),
        (["--max-new-tokens", "0"], "max_new_tokens=0"),
        (["--stop", ""], "stop holds ''"),
    ],
)
def test_chat_refuses_at_once_what_no_turn_could_do(
    loaded: hub.Pretrained,
    option: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read: list[int] = []
    loaded.model.embedding.register_forward_pre_hook(lambda *_: read.append(1))
    give(monkeypatch, "one\ntwo\n")
    assert main(["generate", "--chat", *option]) == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("error: "), read) == ("", 1, [])
    assert message in output.err


WRONG = [
    ([""], "the prompt is empty or blank"),
    (["  "], "the prompt is empty or blank"),
    (["\u00a0\n", "--raw"], "the prompt is empty or blank"),
    (["x", "--top-p", "0"], "top_p=0"),
    (["x", "--temperature", "-1"], "temperature=-1"),
    (["x", "--max-new-tokens", "0"], "max_new_tokens=0"),
    (["x", "--max-new-tokens", "500"], "max_length=200"),
    (["x" * 300], "max_length=200"),
    (["x", "--stop", ""], "stop holds ''"),
    (["x", "--chat"], "--chat reads its turns from standard input"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_is_wrong_is_told_in_one_line(
    loaded: hub.Pretrained,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["generate", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert message in output.err
    assert len(output.err.splitlines()) == 1


def test_models_that_write_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "x", "--model", "g2p"]) == 2
    assert "model='g2p' writes no text" in capsys.readouterr().err
    assert main(["generate", "x", "--model", "gpt5"]) == 2
    assert "name='gpt5' is unknown" in capsys.readouterr().err
    options = command.argparse.Namespace(chat=True, raw=True, prompt=None)
    for name in ("temperature", "top_k", "top_p", "min_p", "seed"):
        setattr(options, name, None)
    options.repetition_penalty = 1.0
    with pytest.raises(ValueError, match="--chat reads its turns from standard input"):
        command.run(options)


def test_smollm2_in_a_process_of_its_own() -> None:
    arguments = ["--model", "smollm2-135m-instruct", "--weights", "int8"]
    arguments += ["What is the capital of France?", "--max-new-tokens", "16"]
    finished = subprocess.run(
        [sys.executable, "-m", "tfbook", "generate", *arguments],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii"},
        timeout=300,
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert finished.stdout.decode().splitlines() == ["The capital of France is Paris."]
