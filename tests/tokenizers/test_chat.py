"""Chat templates as transformers fills them."""

from typing import Any

import pytest
import smollm2
from transformers import PreTrainedTokenizerFast

from tfbook.tokenizers import BPETokenizer, render_chat

Messages = list[dict[str, str]]


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


TALKS: list[Messages] = [
    [turn("user", "What is a Transformer?")],
    [turn("system", "Be brief."), turn("user", "Why?\n\n  Because…")],
    [
        turn("user", "Hi"),
        turn("assistant", "Hello 🙂"),
        turn("user", "<|im_end|> & 'quotes' {{x}}"),
    ],
    [turn("system", ""), turn("user", ""), turn("assistant", "{% raw %}")],
    [turn("assistant", "I begin.")],
]
#: With what templates of other models use: blocks of several lines, loops that end, tokens.
OTHER = """{%- if messages[0].role == 'system' %}
    {{- bos_token + messages[0].content }}
{%- endif %}
{%- for message in messages %}
    {%- if message.content == '' %}
        {%- break %}
    {%- endif %}
    {% if message.role == 'user' %}
[INST] {{ message['content'] | trim }} [/INST]
    {% else %}
{{ message.content }}{{ eos_token }}
    {% endif %}
{%- endfor %}
{% if add_generation_prompt %}>{% endif %}"""


@pytest.fixture(scope="module")
def reference() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=smollm2.theirs(),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )


def other() -> BPETokenizer:
    """A tokenizer with the roles of SmolLM2 and the other template."""
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    plain = BPETokenizer.train([""], vocab_size=259, special_tokens=names)
    return BPETokenizer(
        vocab=plain.vocabulary.model_ids,
        merges=[],
        added_tokens=plain.vocabulary.added.tokens,
        bos_id=1,
        eos_id=2,
        chat_template=OTHER,
    )


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("template", [None, OTHER])
@pytest.mark.parametrize("messages", TALKS)
def test_as_transformers(
    reference: PreTrainedTokenizerFast,
    messages: Messages,
    template: str | None,
    add_generation_prompt: bool,
) -> None:
    made = smollm2.ours() if template is None else other()
    options: dict[str, Any] = dict(add_generation_prompt=add_generation_prompt)
    text = made.apply_chat_template(messages, **options)
    reference.chat_template = made.chat_template
    assert text == reference.apply_chat_template(messages, tokenize=False, **options)
    ids = reference.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    assert smollm2.ours().encode(text) == ids


def test_a_template_can_change_nothing() -> None:
    with pytest.raises(ValueError, match=r"the chat template failed .*append.*; check the roles"):
        render_chat("{{ messages.append(1) }}", TALKS[0])
    with pytest.raises(ValueError, match=r"the chat template failed .*unsafe"):
        render_chat("{{ ''.__class__.__mro__ }}", TALKS[0])


def test_a_template_may_refuse() -> None:
    refusing = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ValueError, match=r"failed \(roles must alternate\); check the roles and"):
        render_chat(refusing, TALKS[0])
    with pytest.raises(ValueError, match="the chat template failed"):
        render_chat("{% if %}", TALKS[0])
    for wrong in ("{{ messages + 1 }}", "{{ 1 // 0 }}", "{{ range(10**9) }}"):
        with pytest.raises(ValueError, match=r"the chat template failed .* check the roles"):
            render_chat(wrong, TALKS[0])


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages is empty; pass at least one turn"),
        (["Hello"], r"messages\[0\]='Hello' must have the texts 'role' and 'content'"),
        ([{"role": "user"}], r"messages\[0\]=\{'role': 'user'\} must have the texts"),
        ([TALKS[0][0], turn("user", None)], r"messages\[1\]=.* must have the texts"),
    ],
)
def test_bad_messages(messages: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_chat("", messages)
    with pytest.raises(ValueError, match=message):
        smollm2.ours().apply_chat_template(messages)


def test_without_a_template() -> None:
    small = BPETokenizer.train(["low"], vocab_size=256)
    with pytest.raises(RuntimeError, match="this tokenizer has no chat template; build it with"):
        small.apply_chat_template(TALKS[0])
