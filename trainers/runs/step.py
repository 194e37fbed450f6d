"""One update: first candidates and their rewards, without a gradient; then the pass that learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from trainers.data.batch import images_of
from trainers.optimizers.base import CandidateTokens, Optimizer
from trainers.optimizers.named_classes import check_names
from trainers.rewards.rewards import Rewards
from trainers.runs.trainer import NonFinite
from trainers.watch.diagnostics import Diagnostics, means

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from trainers.captioners.base import Captioner
    from trainers.data import Batch

Floats = npt.NDArray[np.float64]

# The names in a row of training, for every optimizer, besides the loss and the columns of the diagnostics.
RESERVED = frozenset(
    {
        *("step", "kind", "logprob", "tokens", "lr", "grad_norm", "tokens/s", "images", "reward", "length", "kl"),
        *("unfinished", "empty", "repetition", "reward_spread", "judge_spread", "reward/", "baseline/", "advantage/"),
    }
)


@dataclass
class CollectedBatch:
    """A micro-batch that is ready to be learned from.

    Attributes:
        keys: The keys of the B images.
        inputs: The result of the frozen part, [B, ...].
        candidates: The candidate captions of each image.
        texts: The B * K candidates as text; empty if no reward needs them.
        raw: The rewards as the evaluators gave them, float32 [B, K], or None.
        rewards: The rewards as the optimizer uses them.
        reference: The log-probabilities of the reference policy, [B, learned, L - 1], or None.
        parts: The means of the reward's terms and monitors over the captions that are learned from.
        baselines: The means of the reward's terms over the captions of the baseline.
        diagnosed: The diagnostics of some of the captions that are learned from, for each column [M].
    """

    keys: list[str]
    inputs: Tensor
    candidates: CandidateTokens
    texts: list[str] = field(default_factory=list)
    raw: Tensor | None = None
    rewards: Tensor | None = None
    reference: Tensor | None = None
    parts: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, float] = field(default_factory=dict)
    diagnosed: dict[str, Floats] = field(default_factory=dict)

    def learned_texts(self) -> list[str]:
        """Return the B * learned captions that are learned from, without those of a baseline."""
        count, learned = self.candidates.tokens.shape[1], self.candidates.learned
        return [text for i, text in enumerate(self.texts) if i % count < learned]


def rows_of(micro_batches: Sequence[CollectedBatch]) -> list[dict[str, Any]]:
    """Return key, captions and rewards of each image of some micro-batches, ready for JSON."""
    rows: list[dict[str, Any]] = []
    for micro_batch in micro_batches:
        count = micro_batch.candidates.tokens.shape[1]
        for i, key in enumerate(micro_batch.keys):
            captions = micro_batch.texts[i * count : (i + 1) * count]
            rewards = None if micro_batch.raw is None else [str(v) for v in micro_batch.raw[i].tolist()]
            rows.append({"key": key, "captions": captions, "rewards": rewards})
    return rows


class Stepper:
    """The steps of a run: candidates and rewards of micro-batches, and the gradient of the policy.

    Args:
        policy: The captioner that learns, unwrapped.
        model: The same captioner, wrapped for parallel training.
        reference: The reference policy: the captioner before the first step; None if nothing needs it.
        optimizer: The training paradigm.
        rewards: The rewards; None if the optimizer needs none.
        accelerator: The accelerator: devices, precision and processes.
        seed: The seed of candidates and dropout, together with the step.
        diagnostics: The diagnostics of the reward, or None.
    """

    def __init__(
        self,
        policy: Captioner,
        model: nn.Module,
        reference: Captioner | None,
        optimizer: Optimizer,
        rewards: Rewards | None,
        accelerator: Accelerator,
        seed: int,
        diagnostics: Diagnostics | None = None,
    ) -> None:
        self.policy = policy
        self.model = model
        self.reference = reference
        self.optimizer = optimizer
        self.rewards = rewards
        self.accelerator = accelerator
        self.seed = seed
        self.diagnostics = diagnostics
        self._caption_generator = torch.Generator()

    def seed_step(self, step: int) -> torch.Generator:
        """Seed every random generator by seed, step and process, so that a resumed run draws the same numbers.

        The reference captions that are learned from do not depend on how processes and micro-batches share the images
        of a step.
        """
        number = (self.seed * 1_000_003 + step) * 4099 + self.accelerator.process_index
        self._caption_generator.manual_seed((number - self.accelerator.process_index + 4098) % 2**63)
        torch.manual_seed(number % 2**63)
        device = self.accelerator.device if self.accelerator.device.type == "cuda" else "cpu"
        return torch.Generator(device).manual_seed((number + 1) % 2**63)

    def collect(
        self,
        batch: Batch,
        generator: torch.Generator,
        *,
        monitored: bool,
        compared: bool,
        diagnosed: tuple[int, int] | None = None,
    ) -> CollectedBatch:
        """Collect the candidates of a batch with their rewards.

        Args:
            batch: The B images with their captions.
            generator: The generator of the candidates.
            monitored: Whether the reward's monitors are computed too.
            compared: Whether the reference policy is computed even if the loss does not need it.
            diagnosed: The number of this micro-batch and the number of all, if the candidates are diagnosed too.
        """
        device = self.accelerator.device
        with torch.no_grad(), self.accelerator.autocast():
            inputs = self.policy.look(images_of(batch).to(device, non_blocking=True))
            candidates = self._candidates(batch, inputs, generator)
            micro_batch = CollectedBatch(batch.keys, inputs, candidates)
            if self.rewards is not None:
                self._compute_rewards(micro_batch, batch, monitored)
            if diagnosed is not None and self.diagnostics is not None:
                self._diagnose(micro_batch, batch, *diagnosed)
            if self.reference is not None and (self.optimizer.needs_reference or compared):
                logprobs = self.reference(inputs, candidates.learned_rows())
                micro_batch.reference = logprobs.view(len(batch.keys), candidates.learned, -1)
        return micro_batch

    def _candidates(self, batch: Batch, inputs: Tensor, generator: torch.Generator) -> CandidateTokens:
        if not self.optimizer.needs_reward:
            earlier = self.accelerator.process_index * len(batch)
            later = (self.accelerator.num_processes - 1) * len(batch) - earlier
            torch.randint(2**62, (earlier,), generator=self._caption_generator)
            candidates = self.optimizer.reference_candidates(self.policy, batch.captions, self._caption_generator)
            torch.randint(2**62, (later,), generator=self._caption_generator)
            candidates.tokens, candidates.mask = candidates.tokens.to(inputs.device), candidates.mask.to(inputs.device)
            return candidates
        self.policy.train(self.optimizer.search_dropout)
        return self.optimizer.draw_candidates(self.policy, self.policy.encode(inputs), generator)

    def _compute_rewards(self, micro_batch: CollectedBatch, batch: Batch, monitored: bool) -> None:
        assert self.rewards is not None  # noqa: S101  # for the type checker: asked before
        micro_batch.texts = self.policy.decode_text(micro_batch.candidates.tokens.flatten(0, 1))
        batch_rewards = self.rewards.compute(
            micro_batch.texts,
            batch.keys,
            batch.pictures,
            batch.captions,
            monitored=monitored,
            learned=micro_batch.candidates.learned,
        )
        micro_batch.raw, micro_batch.parts, micro_batch.baselines = (
            batch_rewards.raw,
            batch_rewards.parts,
            batch_rewards.baselines,
        )
        if batch_rewards.diversity is not None:
            micro_batch.candidates.diversity = batch_rewards.diversity.to(micro_batch.inputs.device)

    def _diagnose(self, micro_batch: CollectedBatch, batch: Batch, number: int, total: int) -> None:
        """Compute the diagnostics of the captions of some images."""
        assert self.diagnostics is not None and micro_batch.raw is not None  # noqa: S101, PT018  # for the type checker
        count, world = len(batch), self.accelerator.num_processes
        first = (number * world + self.accelerator.process_index) * count
        rows = self.diagnostics.select_images(first, count, total * world * count)
        texts, learned = micro_batch.learned_texts(), micro_batch.candidates.learned
        micro_batch.diagnosed = self.diagnostics.measure(
            [text for i in rows for text in texts[i * learned : (i + 1) * learned]],
            [batch.keys[i] for i in rows],
            [batch.pictures[i] for i in rows],
            [list(batch.captions[i]) for i in rows],
        )
        micro_batch.diagnosed["reward"] = micro_batch.raw[rows, :learned].flatten().double().numpy()

    def gather_diagnostics(self, micro_batches: Sequence[CollectedBatch]) -> dict[str, float]:
        """Return the diagnostics of a step over all processes: means, and the spreads of reward and judge.

        Returns:
            For each column the mean over captions; ``reward_spread`` and ``judge_spread`` are standard deviations.
        """
        assert self.diagnostics is not None  # noqa: S101  # for the type checker: asked before
        names = [*self.diagnostics.columns, "reward"]
        count, world = len(micro_batches[0].keys), self.accelerator.num_processes
        stride = self.diagnostics.stride(len(micro_batches) * world * count)
        most = len(micro_batches) * -(-count // stride) * micro_batches[0].candidates.learned
        own_table = np.full((len(names), most), np.nan)  # processes have as many columns, and rows that may stay empty
        for place, name in enumerate(names):
            values = np.concatenate([micro_batch.diagnosed[name] for micro_batch in micro_batches])
            own_table[place, : len(values)] = values
        gathered = (
            self.accelerator.gather(torch.from_numpy(own_table.T.copy()).to(self.accelerator.device)).cpu().numpy()
        )
        columns = dict(zip(names, gathered.T, strict=True))
        row = means(columns)
        spread = {f"{name}_spread": float(np.nanstd(columns[name])) for name in ("reward", "judge") if name in row}
        del row["reward"]  # every row has the reward of all captions
        return {**row, **spread}

    def normalise_rewards(self, micro_batches: Sequence[CollectedBatch]) -> None:
        """Clip and normalise the rewards of a step.

        Raises:
            NonFinite: A reward is not finite.
        """
        if self.rewards is None:
            return
        raws = [micro_batch.raw for micro_batch in micro_batches if micro_batch.raw is not None]
        flat = torch.cat([raw.flatten() for raw in raws])
        all_rewards = self.accelerator.gather(flat.to(self.accelerator.device)).cpu()
        if not torch.isfinite(all_rewards).all():
            raise NonFinite("reward", rows_of(micro_batches))
        normalised = self.rewards.clip_and_normalise(flat, all_rewards)
        start = 0
        for micro_batch, raw in zip(micro_batches, raws, strict=True):
            values = normalised[start : start + raw.numel()].view(raw.shape)
            micro_batch.rewards = values.to(self.accelerator.device)
            start += raw.numel()

    def accumulate_gradient(self, micro_batches: Sequence[CollectedBatch]) -> dict[str, Tensor]:
        """Accumulate the gradient of a step's micro-batches.

        Returns:
            Statistics of all processes: means over the images of the step (``logprob``: over its tokens, ``loss``: over
            what the optimizer weighs by), and the number of ``tokens``.

        Raises:
            InputError: The optimizer uses a name for a statistic that every run has.
        """
        weights = torch.stack([self.optimizer.weight(micro_batch.candidates) for micro_batch in micro_batches])
        counted = torch.stack([micro_batch.candidates.learned_mask().sum() for micro_batch in micro_batches])
        total, tokens = self.accelerator.reduce(torch.stack([weights.sum(), counted.sum().float()]), reduction="sum")
        stats: dict[str, Tensor] = {}
        self.policy.train(self.optimizer.dropout)
        eos = self.policy.vocabulary.eos
        for micro_batch, weight in zip(micro_batches, weights, strict=True):
            share = weight / total * self.accelerator.num_processes
            with self.accelerator.accumulate(self.model):
                rows = micro_batch.candidates.learned_rows()
                with self.accelerator.autocast():
                    logprobs = self.model(micro_batch.inputs, rows, self.optimizer.smoothing)
                policy = logprobs.view(len(micro_batch.keys), micro_batch.candidates.learned, -1)
                loss, loss_stats = self.optimizer.loss(
                    policy, micro_batch.reference, micro_batch.candidates, micro_batch.rewards
                )
                columns = () if self.diagnostics is None else self.diagnostics.columns
                check_names(f"the optimizer {self.optimizer.name}", loss_stats, RESERVED.union(columns))
                # Accelerate divides by the number of micro-batches, and parallel training by the number of processes.
                self.accelerator.backward(loss * share * self.accelerator.gradient_accumulation_steps)
            policy = policy.detach()
            means = {
                name: value.detach() / len(micro_batches)
                for name, value in (loss_stats | _candidate_statistics(micro_batch, policy, eos)).items()
            }
            means["loss"] = loss.detach() * share
            means["logprob"] = policy.sum() * (self.accelerator.num_processes / tokens.clamp(min=1))
            for name, value in means.items():
                stats[name] = stats[name] + value if name in stats else value
        return {**self._mean_over_processes(stats), "tokens": tokens}

    def _mean_over_processes(self, stats: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the means over the processes."""
        values = torch.stack([value.float() for value in stats.values()])
        return dict(zip(stats, self.accelerator.reduce(values, reduction="mean"), strict=True))


def _have_end(candidates: CandidateTokens, eos: int) -> Tensor:
    """Return which of the captions that are learned from have an end token, bool [B, learned]."""
    return (candidates.tokens[:, : candidates.learned, 1:] == eos).any(-1)


def _empty_share(texts: Sequence[str]) -> float:
    """Return the share of empty captions."""
    return sum(not text.strip() for text in texts) / max(1, len(texts))


def _candidate_statistics(micro_batch: CollectedBatch, policy: Tensor, eos: int) -> dict[str, Tensor]:
    """Return the statistics of its candidates that every run logs."""
    mask = micro_batch.candidates.learned_mask()
    parts, device = micro_batch.parts, policy.device
    means_by_name = {f"reward/{name}": value for name, value in parts.items()}
    means_by_name |= {f"baseline/{name}": value for name, value in micro_batch.baselines.items()}
    means_by_name |= {f"advantage/{name}": parts[name] - value for name, value in micro_batch.baselines.items()}
    stats = {name: torch.tensor(value, device=device) for name, value in means_by_name.items()}
    if micro_batch.raw is not None:
        stats["reward"] = micro_batch.raw[:, : micro_batch.candidates.learned].mean().to(policy.device)
        stats["length"] = mask.sum(-1).float().mean()
        stats["empty"] = torch.tensor(_empty_share(micro_batch.learned_texts()), device=device)
        stats["unfinished"] = 1 - _have_end(micro_batch.candidates, eos).float().mean()
    if micro_batch.reference is not None:
        stats["kl"] = (policy - micro_batch.reference).sum() / mask[..., 0].numel()
    return stats
