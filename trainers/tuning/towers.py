"""A CLIP that is being tuned: texts and images in, states and features out, with a gradient where one is wanted."""

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

_MARK = ":"  # for the dots of names, which a container of parameters does not take


class TrainedParameters(nn.Module):
    """The parameters that learn, and no others, so that a checkpoint holds these alone.

    Args:
        named: by their names; shared, not copied.
    """

    def __init__(self, named: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.kept = nn.ParameterDict({name.replace(".", _MARK): parameter for name, parameter in named.items()})


def name_of(kept: str) -> str:
    """The name that a parameter of ``TrainedParameters`` has in its model."""
    return kept.removeprefix("kept.").replace(_MARK, ".")


@dataclass(frozen=True)
class EncodedTexts:
    """N texts, encoded.

    Attributes:
        states: before the projection, float32 [N, d].
        features: float32 [N, D], L2-normalised.
        tokens: how many.
        prefixes: states at the tokens between prompt and end, float32 [T, d], where labels of them are asked for.
        labels: of these, int64 [T].
    """

    states: Tensor
    features: Tensor
    tokens: int
    prefixes: Tensor | None = None
    labels: Tensor | None = None


class Towers:
    """Both towers at work.

    Args:
        clip: the CLIP; of its parameters those that want a gradient learn.
        extra: modules beside it.
        prompt: put before every text.
        chunk: texts whose activations are kept at a time; None keeps those of all.
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
        """What learns, of the model and of the modules beside it."""
        both = [*self.model.named_parameters(), *self.extra.named_parameters()]
        return TrainedParameters({name: parameter for name, parameter in both if parameter.requires_grad})

    def train(self, on: bool = True) -> None:
        """Dropout on or off, where there is some; batch norms keep their statistics, a frozen tower stays as it is."""
        self.model.train(on)
        self.extra.train(on)
        if not self.image_side_learns:
            self.model.visual.eval()
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def image(self, images: Tensor) -> Tensor:
        """Features of pixels [B, 3, S, S] or of stored features [B, D]: float32 [B, D], L2-normalised."""
        if images.ndim == 2:
            return normalize(images.float(), dim=-1)
        with torch.set_grad_enabled(self.image_side_learns and torch.is_grad_enabled()):
            features = self.model.encode_image(images)
        return normalize(features.float(), dim=-1)

    def text(self, texts: Sequence[str], labels: Labels | None = None) -> EncodedTexts:
        """States of texts before the projection and their features.

        Args:
            texts: N texts, without the prompt.
            labels: of prefixes: from the tokens of each text without prompt and end to a class for each of them. The
                model must be one for which ``can_trim`` is true.
        """
        rows = tokenize(self.tokenizer, [self.prompt + text for text in texts], self.context)
        size = self.chunk or (CPU_BATCH if self.device.type == "cpu" else len(texts))
        order = np.argsort(rows.lengths, kind="stable")  # texts of like length need little padding
        parts: list[Tensor] = []
        prefixes: list[Tensor] = []
        lead = len(tokenize(self.tokenizer, [self.prompt], self.context).rows[0]) - 1
        for start in range(0, len(texts), size):
            chosen = order[start : start + size].tolist()
            longest = int(rows.lengths[chosen].max()) if can_trim(self.model) else self.context
            tokens = torch.from_numpy(rows.padded(chosen, longest)).to(self.device, non_blocking=True)
            if labels is None:
                parts.append(self._states(tokens, text_states))
                continue
            every = self._states(tokens, prefix_states)
            ends = tokens.argmax(dim=-1)
            parts.append(every[torch.arange(len(every), device=self.device), ends])
            places = torch.arange(longest, device=self.device)
            prefixes.append(every[(places >= lead) & (places < ends.unsqueeze(1))])
        places = torch.from_numpy(np.argsort(order)).to(self.device, non_blocking=True)
        states = torch.cat(parts)[places]
        features = normalize(projected(self.model, states).float(), dim=-1)
        read = EncodedTexts(states.float(), features, int(rows.lengths.sum()))
        if labels is None:
            return read
        each = labels([ids[lead:-1] for ids in rows.rows])
        flat = torch.from_numpy(np.concatenate([each[row] for row in order.tolist()])).long()
        return replace(read, prefixes=torch.cat(prefixes).float(), labels=flat.to(self.device, non_blocking=True))

    def _states(self, tokens: Tensor, encode: Callable[[Any, Tensor], Tensor]) -> Tensor:
        if self.chunk is None or not torch.is_grad_enabled():
            return encode(self.model, tokens)
        from torch.utils.checkpoint import checkpoint

        states: Tensor = checkpoint(encode, self.model, tokens, use_reentrant=False)
        return states

    def scale(self) -> Tensor:
        """The inverse temperature."""
        scale: Tensor = self.model.logit_scale.exp()
        return scale


def fast_attention(device: torch.device) -> AbstractContextManager[Any]:
    """The context in which attention is learned fastest: on a processor the plain one, whose way back is the faster."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    found: AbstractContextManager[Any] = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    return found


def pooled(rows: Tensor, accelerator: Accelerator, kinds: int = 1) -> Tensor:
    """The rows of all processes, those of this one with their gradient.

    Every process computes the whole loss from them, and ``share_gradients`` takes means. A parameter before the pool
    gets its gradient from the processes' own rows, one part each, so these parts count as often as there are
    processes; one behind the pool (head, logit scale) gets the whole gradient from each.

    Args:
        rows: [kinds * b, ...] of this process.
        accelerator: of the processes.
        kinds: how many rows there are of each item, kind by kind.

    Returns:
        [kinds * world * b, ...], kind by kind, in the order of the processes.
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


def share_gradients(parameters: Sequence[nn.Parameter], accelerator: Accelerator) -> None:
    """Let every process have the mean of the gradients of all."""
    if accelerator.num_processes == 1:
        return
    there: list[Any] = [p.grad for p in parameters if p.grad is not None]
    flat = accelerator.reduce(torch.cat([gradient.flatten() for gradient in there]), reduction="mean")
    for gradient, part in zip(there, flat.split([g.numel() for g in there]), strict=True):
        gradient.copy_(part.view_as(gradient))
