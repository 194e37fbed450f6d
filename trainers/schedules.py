"""How the weights move: AdamW, and learning rates as a function of the step alone."""

from __future__ import annotations

import math

import torch
from torch import nn

from trainers.config import TrainingConfig


def warmup_steps(training: TrainingConfig, steps: int) -> float:
    """Steps of the warm-up; a value below 1 is a share of all steps."""
    return training.warmup * steps if 0 < training.warmup < 1 else training.warmup


def learning_rate(training: TrainingConfig, step: int, steps: int, width: int) -> float:
    """The learning rate of an update.

    Args:
        training: lr, schedule and warmup count.
        step: of the update, from 0 on.
        steps: of the whole run.
        width: of the captioner, for ``noam``: ``lr * d**-0.5 * min(s**-0.5, s * warmup**-1.5)`` at update s counted
            from 1 (Vaswani et al. 2017, equation 3).
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


def adamw(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) over what is trained; weight decay on matrices alone.

    Args:
        model: whose parameters with a gradient count.
        training: lr, betas, eps and weight_decay count. Without decay it is Adam.
    """
    wanted = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.lr, betas=training.betas, eps=training.eps, fused=True)
