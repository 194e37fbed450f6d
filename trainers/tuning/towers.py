"""The towers of a CLIP that is tuned: they encode texts and images, with a gradient where one is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from capreward.encoders.encoder import CPU_BATCH
from capreward.encoders.model.text_tower import can_trim, prefix_states, projected, text_states
from capreward.encoders.model.token_rows import tokenize

if TYPE_CHECKING:
    from accelerate import Accelerator

    from capreward.encoders.loading import Clip

Labels = Callable[[list[npt.NDArray[np.int64]]], list[npt.NDArray[np.int64]]]

_DOT = ":"  # for the dots of names, which a container of parameters does not take


class TrainedParameters(nn.Module):
    """The trained parameters and no others, so that a checkpoint holds these alone.

    Args:
        named: The parameters by their names; they are shared, not copied.
    """

    def __init__(self, named: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.kept = nn.ParameterDict({name.replace(".", _DOT): parameter for name, parameter in named.items()})


def name_of(parameter: str) -> str:
    """Return the name that a parameter of ``TrainedParameters`` has in its model."""
    return parameter.removeprefix("kept.").replace(_DOT, ".")


@dataclass(frozen=True)
class EncodedTexts:
    """N encoded texts.

    Attributes:
        states: The states before the projection, float32 [N, d].
        features: The features, float32 [N, D], L2-normalised.
        tokens: The number of tokens.
        prefixes: The states at the tokens between prompt and end, float32 [T, d], if labels of prefixes are asked for.
        labels: The labels of the prefixes, int64 [T].
    """

    states: Tensor
    features: Tensor
    tokens: int
    prefixes: Tensor | None = None
    labels: Tensor | None = None


class Towers:
    """The text tower and the image tower of a CLIP that is tuned.

    Args:
        clip: The CLIP; its parameters that require a gradient are trained.
        extra: The modules beside it.
        prompt: The text that is put before every text.
        chunk: The number of texts whose activations are kept at a time; None keeps those of all texts.
    """

    def __init__(self, clip: Clip, extra: nn.ModuleDict, prompt: str, chunk: int | None = None) -> None:
        self.model = clip.model
        self.extra = extra
        self.tokenizer = clip.tokenizer
        self.prompt = prompt
        self.chunk = chunk
        self.device = next(self.model.parameters()).device
        self.context = int(self.model.context_length)
        self.image_side_learns = any(
            p.requires_grad for n, p in self.model.named_parameters() if n.startswith("visual.")
        )

    def trained(self) -> TrainedParameters:
        """Return the trained parameters of the model and of the modules beside it."""
        both = [*self.model.named_parameters(), *self.extra.named_parameters()]
        return TrainedParameters({name: parameter for name, parameter in both if parameter.requires_grad})

    def train(self, on: bool = True) -> None:
        """Turn dropout on or off; batch norms keep their statistics, and a frozen tower stays as it is."""
        self.model.train(on)
        self.extra.train(on)
        if not self.image_side_learns:
            self.model.visual.eval()
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def image(self, images: Tensor) -> Tensor:
        """Encode pixels [B, 3, S, S] or stored features [B, D] to features float32 [B, D], L2-normalised."""
        if images.ndim == 2:
            return normalize(images.float(), dim=-1)
        with torch.set_grad_enabled(self.image_side_learns and torch.is_grad_enabled()):
            features = self.model.encode_image(images)
        return normalize(features.float(), dim=-1)

    def text(self, texts: Sequence[str], labels: Labels | None = None) -> EncodedTexts:
        """Encode texts to their states before the projection and their features.

        Args:
            texts: The N texts, without the prompt.
            labels: A function that labels prefixes: from the tokens of each text, without prompt and end, to a class
                for each token. The model must be one for which ``can_trim`` is true.
        """
        rows = tokenize(self.tokenizer, [self.prompt + text for text in texts], self.context)
        size = self.chunk or (CPU_BATCH if self.device.type == "cpu" else len(texts))
        order = np.argsort(rows.lengths, kind="stable")  # texts of like length need little padding
        parts: list[Tensor] = []
        prefixes: list[Tensor] = []
        lead = len(tokenize(self.tokenizer, [self.prompt], self.context).rows[0]) - 1
        for start in range(0, len(texts), size):
            selected = order[start : start + size].tolist()
            longest = int(rows.lengths[selected].max()) if can_trim(self.model) else self.context
            tokens = torch.from_numpy(rows.padded(selected, longest)).to(self.device, non_blocking=True)
            if labels is None:
                parts.append(self._states(tokens, text_states))
                continue
            all_states = self._states(tokens, prefix_states)
            ends = tokens.argmax(dim=-1)
            parts.append(all_states[torch.arange(len(all_states), device=self.device), ends])
            places = torch.arange(longest, device=self.device)
            prefixes.append(all_states[(places >= lead) & (places < ends.unsqueeze(1))])
        places = torch.from_numpy(np.argsort(order)).to(self.device, non_blocking=True)
        states = torch.cat(parts)[places]
        features = normalize(projected(self.model, states).float(), dim=-1)
        encoded = EncodedTexts(states.float(), features, int(rows.lengths.sum()))
        if labels is None:
            return encoded
        each = labels([ids[lead:-1] for ids in rows.rows])
        flat = torch.from_numpy(np.concatenate([each[row] for row in order.tolist()])).long()
        return replace(encoded, prefixes=torch.cat(prefixes).float(), labels=flat.to(self.device, non_blocking=True))

    def _states(self, tokens: Tensor, encode: Callable[[Any, Tensor], Tensor]) -> Tensor:
        if self.chunk is None or not torch.is_grad_enabled():
            return encode(self.model, tokens)
        from torch.utils.checkpoint import checkpoint

        states: Tensor = checkpoint(encode, self.model, tokens, use_reentrant=False)
        return states

    def scale(self) -> Tensor:
        """Return the inverse temperature."""
        scale: Tensor = self.model.logit_scale.exp()
        return scale


def fast_attention(device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which attention trains fastest: on a CPU the plain one, whose backward pass is faster."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    context: AbstractContextManager[Any] = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    return context


def gather_rows(rows: Tensor, accelerator: Accelerator, kinds: int = 1) -> Tensor:
    """Gather the rows of all processes; those of this process keep their gradient.

    Every process computes the whole loss from them, and ``average_gradients`` takes means. A parameter before the
    gathering gets its gradient only from the process's own rows, one part in each process, so these parts are
    multiplied by the number of processes. A parameter behind it (head, logit scale) gets the whole gradient in each
    process.

    Args:
        rows: The rows [kinds * b, ...] of this process.
        accelerator: The accelerator of the processes.
        kinds: The number of rows of each item; rows are ordered kind by kind.

    Returns:
        The rows [kinds * world * b, ...], kind by kind, in the order of the processes.
    """
    world = accelerator.num_processes
    if world == 1:
        return rows
    own = rows.view_as(rows)
    if own.requires_grad:
        own.register_hook(lambda gradient: gradient * world)  # type: ignore[no-untyped-call]
    every = list(accelerator.gather(rows.detach().contiguous()).chunk(world))
    every[accelerator.process_index] = own
    by_kind = [part.chunk(kinds) for part in every]
    return torch.cat([parts[kind] for kind in range(kinds) for parts in by_kind])


def average_gradients(parameters: Sequence[nn.Parameter], accelerator: Accelerator) -> None:
    """Set the gradients of every process to their mean over all processes."""
    if accelerator.num_processes == 1:
        return
    gradients: list[Any] = [p.grad for p in parameters if p.grad is not None]
    flat = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
