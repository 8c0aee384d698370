"""Language models that write: ``generate`` beside Hugging Face's, and what a token costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tfbook import hub
from tfbook.generation import generate
from tfbook.models import CausalLM, CausalLMConfig, StackConfig
from tfbook.models.convert import to_huggingface

PROMPT = 32
CACHES = ("dynamic", "static")
SMOLLM2, SMOLLM2_PROMPT, SMOLLM2_TOKENS = "smollm2-135m-instruct", 64, 16
#: The types of weights, and whether Hugging Face's model runs in them without other libraries.
WEIGHTS = {"float32": True, "bfloat16": True, "int8": False}
#: Systems and their names in the table of SmolLM2.
TOKEN_SYSTEMS = ("Hugging Face", "tfbook", "linear layers alone")


@dataclass(frozen=True)
class Writing:
    """A size of the comparison with Hugging Face's ``generate``.

    Args:
        vocab_size: tokens in the vocabulary; with GPT-2's own 50,257 the product with the output
            layer alone, which is the same in both libraries, takes most of a step.
        batch: sequences.
        n_tokens: written by each.
    """

    vocab_size: int
    batch: int
    n_tokens: int

    def __str__(self) -> str:
        return f"vocabulary {self.vocab_size}, batch {self.batch}"


def gpt2(vocab_size: int) -> CausalLM:
    """Make a GPT-2 of four layers and width 256 with random weights."""
    stack = StackConfig(
        d_model=256,
        n_heads=4,
        d_ff=1024,
        n_layers=4,
        dropout_p=0.0,
        placement="pre",
        activation="gelu_tanh",
    )
    config = CausalLMConfig(vocab_size=vocab_size, decoder=stack, max_length=1024)
    torch.manual_seed(0)
    return CausalLM(config).eval()


def theirs_of(model: CausalLM) -> PreTrainedModel:
    """Give Hugging Face's model with the same weights."""
    config, tensors = to_huggingface(model)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    made = made.to(next(iter(tensors.values())).dtype)
    made.load_state_dict(tensors, assign=True)  # the very same tables, where they have one layout
    return made.eval()


def ours_written(model: CausalLM, ids: Tensor, n_tokens: int) -> Tensor:
    """Write greedily with tfbook; give the new tokens."""
    return generate(model, ids, max_new_tokens=n_tokens).ids


def theirs_written(model: PreTrainedModel, ids: Tensor, n_tokens: int, cache: str) -> Tensor:
    """Write greedily with Hugging Face's ``generate``; give the new tokens."""
    written = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=n_tokens,
        min_new_tokens=n_tokens,
        do_sample=False,
        cache_implementation=cache,
        disable_compile=True,
        pad_token_id=0,
    )
    return written[:, ids.shape[1] :]


def cases(writing: Writing) -> dict[str, Callable[[], Tensor]]:
    """Give the writing of the same tokens by both libraries, theirs with each cache.

    Args:
        writing: the size.

    Returns:
        Functions that give the new tokens, by name.
    """
    ours = gpt2(writing.vocab_size)
    theirs, n = theirs_of(ours), writing.n_tokens
    ids = torch.randint(0, writing.vocab_size, (writing.batch, PROMPT))
    made: dict[str, Callable[[], Tensor]] = {"tfbook": partial(ours_written, ours, ids, n)}
    for cache in CACHES:
        made[f"Hugging Face, {cache}"] = partial(theirs_written, theirs, ids, n, cache)
    return made


def linear_layers(model: nn.Module) -> Iterator[nn.Module]:
    """Give the layers that hold a model's matrices, the head among them."""
    return (module for module in model.modules() if hasattr(module, "in_features"))


def products_alone(model: CausalLM, n_tokens: int) -> Callable[[], None]:
    """Give the products of one token with every matrix, so many times, and nothing else.

    Args:
        model: whose linear layers are called.
        n_tokens: how often.

    Returns:
        A function without a result.
    """
    layers = list(linear_layers(model))
    dtype = next(model.decoder.parameters()).dtype
    inputs = {width: torch.randn(1, 1, width, dtype=dtype) for width in {576, 1536}}

    @torch.inference_mode()
    def run() -> None:
        for _ in range(n_tokens):
            for layer in layers:
                layer(inputs[layer.in_features])

    return run


def token_cases(weights: str, n_tokens: int = SMOLLM2_TOKENS) -> dict[str, Callable[[], object]]:
    """Give the writing of tokens by SmolLM2, and the products that it cannot do without.

    Args:
        weights: one of :data:`WEIGHTS`.
        n_tokens: written.

    Returns:
        The cases by name. What reading the prompt takes is ``prompt`` of each, to be taken off.
    """
    loaded = hub.load(SMOLLM2, weights=weights)
    model = loaded.model
    text = "The history of printing begins with wooden blocks. " * 16
    ids = torch.tensor([loaded.tokenizer.encode(text)[:SMOLLM2_PROMPT]])
    made: dict[str, Callable[[], object]] = {
        "tfbook": partial(ours_written, model, ids, n_tokens + 1),
        "tfbook, prompt": partial(ours_written, model, ids, 1),
        "linear layers alone": products_alone(model, n_tokens),
    }
    if WEIGHTS[weights]:
        theirs = theirs_of(model)
        made["Hugging Face"] = partial(theirs_written, theirs, ids, n_tokens + 1, "dynamic")
        made["Hugging Face, prompt"] = partial(theirs_written, theirs, ids, 1, "dynamic")
    return made


def n_token_cases(weights: Mapping[str, bool]) -> int:
    """How many cases :func:`token_cases` gives for all types of weights together."""
    return sum(5 if theirs else 3 for theirs in weights.values())
