"""Exchange what the attentions of a model attend with, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from torch import nn

from tfbook.attention.multi_head import MultiHeadAttention
from tfbook.attention.protocols import Attend
from tfbook.checks import require


def find_attentions(model: nn.Module) -> dict[str, MultiHeadAttention]:
    """Find every :class:`MultiHeadAttention` of a model by name.

    Args:
        model: any module.

    Returns:
        Name (as ``model.named_modules()`` gives it; ``""`` for ``model`` itself) to module.

    Raises:
        ValueError: the model contains none.

    Example:
        >>> list(find_attentions(nn.Sequential(MultiHeadAttention(6, 2))))
        ['0']

    Chapter: 09.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, MultiHeadAttention)
    }
    require(
        bool(found),
        f"model={type(model).__name__} contains no MultiHeadAttention; pass the module that does",
    )
    return found


@contextlib.contextmanager
def replace_attend(
    model: nn.Module, names: Iterable[str], make: Callable[[str, Attend], Attend]
) -> Iterator[None]:
    """Let some attentions attend with another function inside the block.

    Args:
        model: any module that contains :class:`MultiHeadAttention`.
        names: which, by their names in :func:`find_attentions`.
        make: gives the new function from a module's name and its present function.

    Yields:
        Nothing. Afterwards all attend as before, also when the block raised.

    Raises:
        ValueError: the model contains no :class:`MultiHeadAttention`.

    Example:
        >>> from tfbook.attention import attention
        >>> mha = MultiHeadAttention(6, 2)
        >>> with replace_attend(mha, [""], lambda name, attend: attention):
        ...     mha.attend is attention
        True

    Chapter: 09.
    """
    attentions = find_attentions(model)
    before = {name: attentions[name].attend for name in names}
    try:
        for name, attend in before.items():
            attentions[name].attend = make(name, attend)
        yield
    finally:
        for name, attend in before.items():
            attentions[name].attend = attend
