"""The updates of the weights: AdamW, and learning rates as a function of the step alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from trainers.runs.config import UpdatesConfig


def warmup_steps(training: UpdatesConfig, steps: int) -> float:
    """Return the number of warm-up steps; a value below 1 is a share of all steps."""
    return training.warmup * steps if 0 < training.warmup < 1 else training.warmup


def learning_rate(training: UpdatesConfig, step: int, steps: int, width: int) -> float:
    """Return the learning rate of an update.

    Args:
        training: The section of the configuration; lr, schedule and warmup count.
        step: The step of the update, from 0 on.
        steps: The number of steps of the whole run.
        width: The width of the captioner, for ``noam``: ``lr * d**-0.5 * min(s**-0.5, s * warmup**-1.5)`` at update s,
            counted from 1 (Vaswani et al. 2017, equation 3).
    """
    warmup = warmup_steps(training, steps)
    if training.schedule == "noam":
        number = step + 1
        return float(training.lr * width**-0.5 * min(number**-0.5, number * warmup**-1.5))
    if step < warmup:
        return training.lr * (step + 1) / warmup
    if training.schedule == "constant":
        return training.lr
    done = (step - warmup) / max(1.0, steps - warmup)
    return training.lr * ((1 - done) if training.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


def is_matrix(_: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter decays in the usual way: all but biases, norms and scalars."""
    return parameter.ndim >= 2


def adamw(
    model: nn.Module, training: UpdatesConfig, decays: Callable[[str, nn.Parameter], bool] = is_matrix
) -> torch.optim.Optimizer:
    """Make AdamW (Loshchilov and Hutter 2019) for the trained parameters; weight decay applies to matrices alone.

    Args:
        model: The model, whose parameters with a gradient are trained.
        training: The section of the configuration; lr, betas, eps and weight_decay count. Without decay it is Adam.
        decays: A function that tells whether a parameter with this name decays.
    """
    wanted = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in wanted if decays(name, p)], "weight_decay": training.weight_decay},
        {"params": [p for name, p in wanted if not decays(name, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.lr, betas=training.betas, eps=training.eps, fused=True)
