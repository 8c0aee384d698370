"""Names and layouts of another library's tensors, and our parameters made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from einops import rearrange
from torch import Tensor, nn

from tfbook.checks import require
from tfbook.models.checkpoints import untied_state

Join = Callable[[Sequence[Tensor]], Tensor]
Split = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Entry:
    """One tensor of theirs, and the parameters of ours that it holds.

    Args:
        theirs: its name.
        ours: names of our parameters.
        join: makes theirs of ours.
        split: the inverse.
    """

    theirs: str
    ours: tuple[str, ...]
    join: Join = lambda parts: parts[0]
    split: Split = lambda tensor: (tensor,)


def renamed(theirs: str, ours: str) -> list[Entry]:
    """Give the entries of a layer that both libraries keep alike.

    Args:
        theirs: name of the layer.
        ours: name of the layer.

    Returns:
        One entry for the weight, one for the bias.
    """
    return [Entry(f"{theirs}.{kind}", (f"{ours}.{kind}",)) for kind in ("weight", "bias")]


def transposed(theirs: str, ours: str) -> list[Entry]:
    """Give the entries of a linear map whose weight is kept as ``(d_in, d_out)``.

    Args:
        theirs: name of the layer.
        ours: name of the layer.

    Returns:
        One entry for the weight, one for the bias.
    """
    weight = Entry(
        f"{theirs}.weight", (f"{ours}.weight",), lambda parts: parts[0].T, lambda t: (t.T,)
    )
    return [weight, renamed(theirs, ours)[1]]


def stacked_transposed(theirs: str, ours: str) -> list[Entry]:
    """Give the entries of GPT-2's fused map: ``(d_in, [q; k; v])``.

    Args:
        theirs: name of the layer.
        ours: name of the attention.

    Returns:
        One entry for the weight, one for the bias.
    """

    def join(parts: Sequence[Tensor]) -> Tensor:
        return rearrange(list(parts), "three d ... -> ... (three d)")

    def split(tensor: Tensor) -> Sequence[Tensor]:
        return rearrange(tensor, "... (three d) -> three d ...", three=3).unbind()

    return [Entry(f"{theirs}.{kind}", _projections(ours, kind), join, split) for kind in KINDS]


def stacked_by_head(theirs: str, ours: str, n_heads: int) -> list[Entry]:
    """Give the entries of GPT-NeoX's fused map: head by head its q, k and v.

    Args:
        theirs: name of the layer.
        ours: name of the attention.
        n_heads: heads.

    Returns:
        One entry for the weight, one for the bias.
    """

    def join(parts: Sequence[Tensor]) -> Tensor:
        return rearrange(list(parts), "three (h d) ... -> (h three d) ...", h=n_heads)

    def split(tensor: Tensor) -> Sequence[Tensor]:
        parts = rearrange(tensor, "(h three d) ... -> three (h d) ...", h=n_heads, three=3)
        return parts.unbind()

    return [Entry(f"{theirs}.{kind}", _projections(ours, kind), join, split) for kind in KINDS]


KINDS = ("weight", "bias")


def _projections(attention: str, kind: str) -> tuple[str, ...]:
    return tuple(f"{attention}.{name}.{kind}" for name in ("w_q", "w_k", "w_v"))


def fill(
    model: nn.Module, entries: Sequence[Entry], tensors: Mapping[str, Tensor], origin: str
) -> None:
    """Give a model the tensors of another library, in their common dtype.

    Args:
        model: on the meta device; changed in place.
        entries: those of its architecture.
        tensors: by their names; kept as the parameters themselves where they need no change.
        origin: what the tensors come from, for messages.

    Raises:
        ValueError: a tensor is missing, superfluous, of another shape, or holds no floats.
    """
    own, entries = untied_state(model), present(model, entries)
    _require_names(entries, tensors, origin)
    for entry in entries:
        expected = entry.join([own[name] for name in entry.ours]).shape
        tensor = tensors[entry.theirs]
        require(
            tensor.shape == expected and tensor.is_floating_point(),
            f"{origin}: {entry.theirs} has shape {tuple(tensor.shape)} and dtype {tensor.dtype}, "
            f"but the config asks for floats of shape {tuple(expected)}; give the config that "
            "belongs to these tensors",
        )
    dtype = reduce(torch.promote_types, (tensors[entry.theirs].dtype for entry in entries))
    made = {
        name: part.to(dtype).contiguous()
        for entry in entries
        for name, part in zip(entry.ours, entry.split(tensors[entry.theirs]), strict=True)
    }
    _replace(model, made)


def taken(model: nn.Module, entries: Sequence[Entry]) -> dict[str, Tensor]:
    """Give a model's parameters under another library's names.

    Args:
        model: left as it is.
        entries: those of its architecture.

    Returns:
        Tensors by their names.
    """
    own = untied_state(model)
    return {
        entry.theirs: entry.join([own[name] for name in entry.ours]).contiguous()
        for entry in present(model, entries)
    }


def present(model: nn.Module, entries: Sequence[Entry]) -> list[Entry]:
    """Give the entries of which a model has the parameters: no biases and heads that it lacks.

    Args:
        model: one of ours, with all parameters that its configuration asks for.
        entries: all that its architecture may have.

    Returns:
        Some of them.
    """
    own = untied_state(model)
    return [entry for entry in entries if all(name in own for name in entry.ours)]


def _require_names(entries: Sequence[Entry], tensors: Mapping[str, Tensor], origin: str) -> None:
    known = {entry.theirs for entry in entries}
    missing, extra = sorted(known - tensors.keys()), sorted(tensors.keys() - known)
    require(
        not missing and not extra,
        f"{origin} does not hold the tensors that its config asks for: missing "
        f"{missing or 'nothing'}, superfluous {extra or 'nothing'}; give the config that belongs "
        "to these tensors",
    )


def _replace(model: nn.Module, made: Mapping[str, Tensor]) -> None:
    """Put tensors in the place of parameters; those that were tied stay tied."""
    new = {id(model.get_parameter(name)): nn.Parameter(made[name]) for name in made}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, new[id(parameter)])
