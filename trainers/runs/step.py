"""One update: candidates and their rewards first, without a gradient; then the pass that learns from them."""

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

# What a row of training holds whatever the optimizer, besides the loss and the columns of the diagnostics.
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
        keys: of the B images.
        inputs: what the frozen part gave, [B, ...].
        candidates: captions of each image.
        texts: the candidates as text, B * K; empty where no reward needs them.
        raw: rewards as the evaluators gave them, float32 [B, K], or None.
        rewards: as the optimizer sees them.
        reference: log-probabilities by the reference policy, [B, learned, L - 1], or None.
        parts: means of the reward's terms and monitors, over the captions that are learned from.
        baselines: means of the reward's terms over those that are the baseline.
        diagnosed: what the diagnostics tell of some of the captions that are learned from, per column [M].
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
        """The captions that are learned from, B * learned; without those of a baseline."""
        count, learned = self.candidates.tokens.shape[1], self.candidates.learned
        return [text for i, text in enumerate(self.texts) if i % count < learned]


def rows_of(works: Sequence[CollectedBatch]) -> list[dict[str, Any]]:
    """Per image of some micro-batches its key, captions and rewards, ready for JSON."""
    rows: list[dict[str, Any]] = []
    for work in works:
        count = work.candidates.tokens.shape[1]
        for i, key in enumerate(work.keys):
            captions = work.texts[i * count : (i + 1) * count]
            given = None if work.raw is None else [str(v) for v in work.raw[i].tolist()]
            rows.append({"key": key, "captions": captions, "rewards": given})
    return rows


class Stepper:
    """Policy, reference policy, optimizer and rewards at work.

    Args:
        policy: the captioner that learns, unwrapped.
        model: the same, wrapped for parallel training.
        reference: the captioner as it was before the first step; None where nothing asks for it.
        optimizer: the paradigm.
        rewards: None where the optimizer needs none.
        accelerator: for devices, precision and processes.
        seed: of candidates and dropout, together with the step.
        diagnostics: what watches the reward, if anything.
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
        self._chance = torch.Generator()

    def begin(self, step: int) -> torch.Generator:
        """Set every source of chance by seed, step and process, so that a run taken up again draws the same.

        Which reference captions are learned from does not depend on how the images of a step are shared out among
        processes and micro-batches.
        """
        number = (self.seed * 1_000_003 + step) * 4099 + self.accelerator.process_index
        self._chance.manual_seed((number - self.accelerator.process_index + 4098) % 2**63)
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
        """Candidates of a batch, judged.

        Args:
            batch: B images with their captions.
            generator: of the candidates.
            monitored: ask the reward's monitors as well.
            compared: ask the reference policy even if the loss does not.
            diagnosed: which micro-batch of how many this is, where the candidates are diagnosed as well.
        """
        device = self.accelerator.device
        with torch.no_grad(), self.accelerator.autocast():
            inputs = self.policy.look(images_of(batch).to(device, non_blocking=True))
            candidates = self._candidates(batch, inputs, generator)
            work = CollectedBatch(batch.keys, inputs, candidates)
            if self.rewards is not None:
                self._judge(work, batch, monitored)
            if diagnosed is not None and self.diagnostics is not None:
                self._diagnose(work, batch, *diagnosed)
            if self.reference is not None and (self.optimizer.needs_reference or compared):
                found = self.reference(inputs, candidates.learned_rows())
                work.reference = found.view(len(batch.keys), candidates.learned, -1)
        return work

    def _candidates(self, batch: Batch, inputs: Tensor, generator: torch.Generator) -> CandidateTokens:
        if not self.optimizer.needs_reward:
            before = self.accelerator.process_index * len(batch)
            behind = (self.accelerator.num_processes - 1) * len(batch) - before
            torch.randint(2**62, (before,), generator=self._chance)
            found = self.optimizer.reference_candidates(self.policy, batch.captions, self._chance)
            torch.randint(2**62, (behind,), generator=self._chance)
            found.tokens, found.mask = found.tokens.to(inputs.device), found.mask.to(inputs.device)
            return found
        self.policy.train(self.optimizer.search_dropout)
        return self.optimizer.draw_candidates(self.policy, self.policy.encode(inputs), generator)

    def _judge(self, work: CollectedBatch, batch: Batch, monitored: bool) -> None:
        assert self.rewards is not None  # noqa: S101  # for the type checker: asked before
        work.texts = self.policy.decode_text(work.candidates.tokens.flatten(0, 1))
        judged = self.rewards.compute(
            work.texts,
            batch.keys,
            batch.pictures,
            batch.captions,
            monitored=monitored,
            learned=work.candidates.learned,
        )
        work.raw, work.parts, work.baselines = judged.raw, judged.parts, judged.baselines
        if judged.diversity is not None:
            work.candidates.diversity = judged.diversity.to(work.inputs.device)

    def _diagnose(self, work: CollectedBatch, batch: Batch, number: int, micro_batches: int) -> None:
        """Judge the captions of some images by what they are not rewarded for."""
        assert self.diagnostics is not None and work.raw is not None  # noqa: S101, PT018  # for the type checker
        count, world = len(batch), self.accelerator.num_processes
        first = (number * world + self.accelerator.process_index) * count
        rows = self.diagnostics.select_images(first, count, micro_batches * world * count)
        texts, learned = work.learned_texts(), work.candidates.learned
        work.diagnosed = self.diagnostics.measure(
            [text for i in rows for text in texts[i * learned : (i + 1) * learned]],
            [batch.keys[i] for i in rows],
            [batch.pictures[i] for i in rows],
            [list(batch.captions[i]) for i in rows],
        )
        work.diagnosed["reward"] = work.raw[rows, :learned].flatten().double().numpy()

    def diagnosed(self, works: Sequence[CollectedBatch]) -> dict[str, float]:
        """What the diagnostics tell of a step, over all processes: means, and of reward and judge the spread as well.

        Returns:
            Per column the mean over captions; ``reward_spread`` and ``judge_spread``, standard deviations.
        """
        assert self.diagnostics is not None  # noqa: S101  # for the type checker: asked before
        names = [*self.diagnostics.columns, "reward"]
        count, world = len(works[0].keys), self.accelerator.num_processes
        stride = self.diagnostics.stride(len(works) * world * count)
        most = len(works) * -(-count // stride) * works[0].candidates.learned
        own = np.full((len(names), most), np.nan)  # processes have as many columns, and rows that may stay empty
        for place, name in enumerate(names):
            values = np.concatenate([work.diagnosed[name] for work in works])
            own[place, : len(values)] = values
        table = self.accelerator.gather(torch.from_numpy(own.T.copy()).to(self.accelerator.device)).cpu().numpy()
        columns = dict(zip(names, table.T, strict=True))
        told = means(columns)
        spread = {f"{name}_spread": float(np.nanstd(columns[name])) for name in ("reward", "judge") if name in told}
        del told["reward"]  # that of all captions is told in any case
        return {**told, **spread}

    def shape_rewards(self, works: Sequence[CollectedBatch]) -> None:
        """Clip and normalise the rewards of a step.

        Raises:
            NonFinite: a reward is no number.
        """
        if self.rewards is None:
            return
        raws = [work.raw for work in works if work.raw is not None]
        flat = torch.cat([raw.flatten() for raw in raws])
        every = self.accelerator.gather(flat.to(self.accelerator.device)).cpu()
        if not torch.isfinite(every).all():
            raise NonFinite("reward", rows_of(works))
        shaped = self.rewards.clip_and_normalise(flat, every)
        start = 0
        for work, raw in zip(works, raws, strict=True):
            values = shaped[start : start + raw.numel()].view(raw.shape)
            work.rewards = values.to(self.accelerator.device)
            start += raw.numel()

    def learn(self, works: Sequence[CollectedBatch]) -> dict[str, Tensor]:
        """Accumulate the gradient of a step's micro-batches.

        Returns:
            Statistics of all processes: means over the images of the step (``logprob``: over its tokens, ``loss``: over
            what the optimizer weighs by), and the number of ``tokens``.

        Raises:
            InputError: the optimizer tells something by a name that every run has.
        """
        weights = torch.stack([self.optimizer.weight(work.candidates) for work in works])
        counted = torch.stack([work.candidates.learned_mask().sum() for work in works])
        total, tokens = self.accelerator.reduce(torch.stack([weights.sum(), counted.sum().float()]), reduction="sum")
        stats: dict[str, Tensor] = {}
        self.policy.train(self.optimizer.dropout)
        eos = self.policy.vocabulary.eos
        for work, weight in zip(works, weights, strict=True):
            share = weight / total * self.accelerator.num_processes
            with self.accelerator.accumulate(self.model):
                rows = work.candidates.learned_rows()
                with self.accelerator.autocast():
                    found = self.model(work.inputs, rows, self.optimizer.smoothing)
                policy = found.view(len(work.keys), work.candidates.learned, -1)
                loss, told = self.optimizer.loss(policy, work.reference, work.candidates, work.rewards)
                columns = () if self.diagnostics is None else self.diagnostics.columns
                check_names(f"the optimizer {self.optimizer.name}", told, RESERVED.union(columns))
                # accelerate divides by the number of micro-batches, and parallel training by that of processes
                self.accelerator.backward(loss * share * self.accelerator.gradient_accumulation_steps)
            policy = policy.detach()
            means = {name: value.detach() / len(works) for name, value in (told | _told(work, policy, eos)).items()}
            means["loss"] = loss.detach() * share
            means["logprob"] = policy.sum() * (self.accelerator.num_processes / tokens.clamp(min=1))
            for name, value in means.items():
                stats[name] = stats[name] + value if name in stats else value
        return {**self._averaged(stats), "tokens": tokens}

    def _averaged(self, stats: dict[str, Tensor]) -> dict[str, Tensor]:
        """Means over the processes."""
        values = torch.stack([value.float() for value in stats.values()])
        return dict(zip(stats, self.accelerator.reduce(values, reduction="mean"), strict=True))


def _ended(candidates: CandidateTokens, eos: int) -> Tensor:
    """Which of the captions that are learned from have an end token, bool [B, learned]."""
    return (candidates.tokens[:, : candidates.learned, 1:] == eos).any(-1)


def _empty(texts: Sequence[str]) -> float:
    """The share of captions that say nothing."""
    return sum(not text.strip() for text in texts) / max(1, len(texts))


def _told(work: CollectedBatch, policy: Tensor, eos: int) -> dict[str, Tensor]:
    """What every run logs of its candidates."""
    mask = work.candidates.learned_mask()
    parts, device = work.parts, policy.device
    named = {f"reward/{name}": value for name, value in parts.items()}
    named |= {f"baseline/{name}": value for name, value in work.baselines.items()}
    named |= {f"advantage/{name}": parts[name] - value for name, value in work.baselines.items()}
    told = {name: torch.tensor(value, device=device) for name, value in named.items()}
    if work.raw is not None:
        told["reward"] = work.raw[:, : work.candidates.learned].mean().to(policy.device)
        told["length"] = mask.sum(-1).float().mean()
        told["empty"] = torch.tensor(_empty(work.learned_texts()), device=device)
        told["unfinished"] = 1 - _ended(work.candidates, eos).float().mean()
    if work.reference is not None:
        told["kl"] = (policy - work.reference).sum() / mask[..., 0].numel()
    return told
