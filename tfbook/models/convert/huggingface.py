"""Weights from Hugging Face's transformers to this package's models, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tfbook.checks import listed, require
from tfbook.models.causal_lm import CausalLM
from tfbook.models.checkpoints import require_whole
from tfbook.models.classifier import SequenceClassifier
from tfbook.models.convert.architecture import Architecture
from tfbook.models.convert.bert import BERT
from tfbook.models.convert.folder import read_folder, write_folder
from tfbook.models.convert.gpt2 import GPT2
from tfbook.models.convert.gpt_neox import GPT_NEOX
from tfbook.models.convert.llama import LLAMA, MISTRAL
from tfbook.models.convert.same_model import differences
from tfbook.models.convert.special_ids import SpecialIds, write_special_ids
from tfbook.models.convert.tensors import fill, present, taken
from tfbook.models.masked_lm import MaskedLM
from tfbook.models.text_encoder import TextEncoder

Converted = CausalLM | TextEncoder | MaskedLM | SequenceClassifier

ARCHITECTURES: dict[str, Architecture[Any]] = {
    "bert": BERT,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "llama": LLAMA,
    "mistral": MISTRAL,
}


def from_huggingface(model_or_folder: nn.Module | str | os.PathLike[str]) -> Converted:
    """Build one of this package's models with the weights of one of Hugging Face's.

    BERT gives a :class:`TextEncoder`, or one with a head (:class:`MaskedLM`,
    :class:`SequenceClassifier`); GPT-2, Llama, Mistral and GPT-NeoX give a :class:`CausalLM`.
    BERT's head for the next sentence is left out.

    Args:
        model_or_folder: a model of ``transformers``, or a folder with ``config.json`` and
            ``model.safetensors`` (in several files with an index, too). Nothing is unpickled.

    Returns:
        The model, in the dtype of the weights, on the CPU, in evaluation mode. It shares no
        memory with a model that was given.

    Raises:
        FileNotFoundError: there is no such folder, or it lacks a file.
        ValueError: neither a model nor a folder, an unknown architecture, settings that cannot be
            built, a model without the output layer that its architecture has, or a missing,
            superfluous or misshapen tensor.

    Example:
        >>> from tfbook.models import CausalLMConfig, RotaryConfig, StackConfig
        >>> stack = StackConfig(
        ...     d_model=12, n_heads=3, d_ff=8, n_layers=1, placement="pre", norm="rms_norm",
        ...     bias=False, feed_forward="gated", activation="silu")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack, positions="rotary"))
        >>> folder = getfixture("tmp_path")
        >>> to_huggingface(model, folder)[0]["model_type"]
        'llama'
        >>> ids = torch.tensor([[3, 4, 5]])
        >>> torch.equal(from_huggingface(folder)(ids), model.eval()(ids))
        True

    Source: the source code of transformers 5. Chapter: 05.
    """
    if isinstance(model_or_folder, nn.Module):
        model = model_or_folder
        to_dict: Callable[[], dict[str, Any]] = getattr(
            getattr(model, "config", None), "to_dict", dict
        )
        settings = to_dict() | {"architectures": [type(model).__name__]}
        tensors = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
        return from_huggingface_state(settings, tensors)
    require(
        isinstance(model_or_folder, str | os.PathLike),
        f"model_or_folder={model_or_folder!r:.80} must be a model of transformers, or a folder "
        "with config.json and model.safetensors; for tensors use from_huggingface_state",
    )
    settings, tensors = read_folder(Path(model_or_folder))
    return from_huggingface_state(settings, tensors, origin=str(model_or_folder))


def from_huggingface_state(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, origin: str = "the checkpoint"
) -> Converted:
    """Do what :func:`from_huggingface` does, from a configuration and tensors.

    Args:
        config: the values of a ``config.json``; ``model_type`` says which architecture.
        tensors: by their names in transformers 5 or in the published checkpoints. The model
            keeps them as its parameters where it can, without a copy.
        origin: what the tensors come from, for messages.

    Returns:
        The model, in the widest dtype of the tensors, in evaluation mode.

    Raises:
        ValueError: an unknown architecture, settings that cannot be built, tensors without the
            output layer that the architecture has, or a missing, superfluous or misshapen tensor.

    Example:
        >>> from_huggingface_state({"model_type": "t5"}, {})
        Traceback (most recent call last):
        ValueError: config has model_type='t5', which is unknown here; use 'bert', 'gpt2', ...

    Source: the source code of transformers 5. Chapter: 05.
    """
    architecture = _architecture(config)
    tensors = _current_names(architecture, tensors)
    with torch.device("meta"):  # nothing is drawn that the tensors replace at once
        model: Converted = architecture.build(config, tensors.keys())
    tensors = _once(architecture.same(model), tensors, model, origin)
    _require_head(architecture, model, tensors, (config.get("architectures") or [origin])[0])
    fill(model, architecture.entries(model), tensors, origin)
    return model.eval()


def to_huggingface(
    model: Converted,
    folder: str | os.PathLike[str] | None = None,
    *,
    tokenizer: SpecialIds | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give the configuration and the tensors with which transformers builds the same model.

    Args:
        model: one whose parts are those of BERT, GPT-2, Llama, Mistral or GPT-NeoX.
        folder: where ``config.json`` and ``model.safetensors`` go, for ``from_pretrained``;
            made if it is not there. None writes nothing.
        tokenizer: that of the model. Its ``bos_id``, ``eos_id`` and ``pad_id`` go into the
            configuration, so that ``generate`` of transformers stops at the end of a text. Without
            it they are left empty, and that goes on until the length it was given.

    Returns:
        The values of the ``config.json``, and the tensors by the names of the model's state,
        tied ones under both names.

    Raises:
        ValueError: no architecture of transformers that is known here has these parts, the weights
            are of eight bits, the model's tensors are not those that its configuration asks for,
            or the tokenizer is of a larger vocabulary.
        OSError: a file cannot be written; what was there before is left alone.

    Example:
        >>> from tfbook.models import CausalLMConfig, StackConfig, TextEncoderConfig
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=8, n_layers=1, activation="gelu")
        >>> config, tensors = to_huggingface(TextEncoder(TextEncoderConfig(
        ...     vocab_size=29, encoder=stack, n_segments=2, embedding_norm=True)))
        >>> config["architectures"], tensors["embeddings.word_embeddings.weight"].shape
        (['BertModel'], torch.Size([29, 12]))
        >>> from tfbook.tokenizers import CharacterTokenizer
        >>> stack = StackConfig(d_model=12, n_heads=3, d_ff=8, n_layers=1, placement="pre")
        >>> model = CausalLM(CausalLMConfig(vocab_size=29, decoder=stack))
        >>> to_huggingface(model, tokenizer=CharacterTokenizer("abc"))[0]["eos_token_id"]
        2

    Source: the source code of transformers 5. Chapter: 05.
    """
    require(
        isinstance(model, Converted),
        f"model={type(model).__name__} cannot be written; use a CausalLM, TextEncoder, MaskedLM or "
        "SequenceClassifier (of a SentenceEncoder, its encoder)",
    )
    require_whole(model)
    architecture, settings = _matching(model)
    tensors = taken(model, architecture.entries(model))
    dtype = next(iter(tensors.values())).dtype
    settings |= {
        "model_type": architecture.model_type,
        "architectures": [_class_name(architecture, model)],
        "dtype": str(dtype).removeprefix("torch."),
        **write_special_ids(tokenizer, settings["vocab_size"]),
    }
    if isinstance(model, TextEncoder):
        tensors = {name.removeprefix(architecture.prefix): t for name, t in tensors.items()}
    doubled = {one: tensors[other] for one, other in architecture.same(model).items()}
    if folder is not None:
        # Where nothing is tied, their loader looks for both names.
        copied = {} if _ties(model) else {name: tensor.clone() for name, tensor in doubled.items()}
        write_folder(Path(folder), settings, tensors | copied)
    return settings, tensors | doubled


def _architecture(config: Mapping[str, Any]) -> Architecture[Any]:
    model_type, classes = config.get("model_type"), config.get("architectures") or []
    require(
        isinstance(model_type, str) and model_type in ARCHITECTURES,
        f"config has model_type={model_type!r}, which is unknown here; use "
        f"{listed([repr(name) for name in ARCHITECTURES])}",
    )
    architecture = ARCHITECTURES[str(model_type)]
    require(
        isinstance(classes, list | tuple),
        f"config has architectures={classes!r:.80}, which must be a list of names; use "
        f"{listed(architecture.classes)}",
    )
    for name in classes:
        require(
            name in architecture.classes,
            f"config has architectures={classes}, of which {name} is unknown here; use "
            f"{listed(architecture.classes)}",
        )
    return architecture


def _current_names(a: Architecture[Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename what earlier releases call otherwise, add the prefix, and drop what is no weight."""
    bare = not any(name.startswith(a.prefix) for name in tensors)
    current = {}
    for given, tensor in tensors.items():
        name = given
        for old, new in a.old_names.items():
            name = name.replace(old, new)
        if bare and not name.startswith(a.heads):
            name = a.prefix + name
        if not any(fnmatchcase(name, pattern) for pattern in a.ignored):
            current[name] = tensor
    return current


def _require_head(
    a: Architecture[Any], model: Converted, tensors: Mapping[str, Tensor], given: str
) -> None:
    """Say what to convert where only the output layer is missing, as in a LlamaModel."""
    missing = {entry.theirs for entry in present(model, a.entries(model))} - tensors.keys()
    headless = missing and all(name.startswith(a.heads) for name in missing)
    require(
        not headless or any(name.startswith(a.heads) for name in tensors),
        f"{given} has no output layer ({listed(sorted(missing))} is missing), and its config ties "
        f"none to the embedding (tie_word_embeddings=False); convert {a.classes[0]}",
    )


def _once(
    same: Mapping[str, str], tensors: Mapping[str, Tensor], model: Converted, origin: str
) -> dict[str, Tensor]:
    """Keep a tensor that stands under two names once."""
    kept = dict(tensors)
    for one, other in same.items():
        if one not in kept:
            continue
        tensor = kept.pop(one)
        # Without a tie the output layer has the bias, and the second name holds nothing used.
        if _ties(model) and other in kept:
            require(
                tensor is kept[other] or torch.equal(tensor, kept[other]),
                f"{origin}: {one} is not {other}, but the config ties them; give "
                "tie_word_embeddings=False, or the tensors that belong to the config",
            )
        kept.setdefault(other, tensor)
    return kept


def _matching(model: Converted) -> tuple[Architecture[Any], dict[str, Any]]:
    """The architecture whose configuration, read again, gives the model's."""
    attempts = []
    for architecture in ARCHITECTURES.values():
        if isinstance(model, CausalLM) == (architecture is BERT):
            continue
        settings = architecture.write(model)
        differing = _differences(architecture, model, settings)
        if not differing:
            return architecture, settings
        attempts.append((len(differing), architecture.model_type, differing))
    _, nearest, differing = min(attempts)
    raise ValueError(
        f"model has parts that no known architecture of transformers has; {nearest} is nearest, "
        f"but needs other {listed(differing)}"
    )


def _differences(
    architecture: Architecture[Any], model: Converted, settings: Mapping[str, Any]
) -> list[str]:
    names = [entry.theirs for entry in present(model, architecture.entries(model))]
    try:
        with torch.device("meta"):
            again = architecture.build(settings, names)
    except ValueError as error:
        return [str(error)]
    return differences(model, again)


def _ties(model: Converted) -> bool:
    return isinstance(model, CausalLM | MaskedLM) and model.config.tie_output


def _class_name(architecture: Architecture[Any], model: Converted) -> str:
    heads = {MaskedLM: "BertForMaskedLM", SequenceClassifier: "BertForSequenceClassification"}
    return heads.get(type(model), architecture.classes[0])
