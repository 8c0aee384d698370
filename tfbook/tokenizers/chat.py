"""Chat templates: a conversation written out as the text that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tfbook.checks import require

Message = Mapping[str, str]


def render_chat(
    template: str,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    names: Mapping[str, Any] | None = None,
) -> str:
    """Write a conversation out with a model's template.

    The template comes from a file, so it runs in Jinja's sandbox, which lets it change nothing.

    Args:
        template: the Jinja template, as a model's metadata hold it.
        messages: the turns, each with a ``role`` (``system``, ``user`` or ``assistant``) and its
            ``content``.
        add_generation_prompt: end where the assistant's next turn begins.
        names: what else the template may use, as ``bos_token``.

    Returns:
        The text.

    Raises:
        ValueError: ``messages`` is empty, or one is no mapping with the texts ``role`` and
            ``content``.
        ValueError: the template is wrong, forbidden in the sandbox, or refuses the messages.

    Example:
        >>> template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        >>> render_chat(template, [{"role": "user", "content": "Hello"}])
        '<user>Hello'

    Chapter: 23.
    """
    require(len(messages) > 0, "messages is empty; pass at least one turn")
    for number, message in enumerate(messages):
        known = isinstance(message, Mapping) and all(
            isinstance(message.get(key), str) for key in ("role", "content")
        )
        require(
            known,
            f"messages[{number}]={message!r:.80} must have the texts 'role' and 'content'; "
            'write {"role": "user", "content": "…"}',
        )
    # The options of the reference: a tag's own line leaves no blank line behind.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    try:
        text: str = environment.from_string(template).render(
            messages=list(messages),
            add_generation_prompt=add_generation_prompt,
            **(names or {}),
        )
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"the chat template failed ({error}); check the roles and their order in messages, or "
            "the template"
        ) from error
    return text


def _refuse(message: str) -> None:
    """What templates call to refuse a conversation."""
    raise TemplateError(message)
