"""The one loop: step, evaluate, keep, log, stop early, and take up again where it was."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from capreward.errors import InputError, ProgramError
from capreward.files import write_beside
from capreward.samples import Samples
from capreward.scoring import load
from trainers.captioners.base import Captioner
from trainers.evaluation import caption_items, judge, write_samples
from trainers.gathering import gathered, shared
from trainers.keeping import Keeper, Progress
from trainers.preparing import Prepared
from trainers.rewards import RunningMoments
from trainers.run_folder import RunFolder
from trainers.schedules import adamw, learning_rate
from trainers.stepping import Collected, NonFinite, Stepper

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

    from trainers.data import Batch, Batches
    from trainers.decoding import Decoding
    from trainers.run_log import RunLog


class Loop:
    """A run from its first step, or from its newest checkpoint, to its end.

    Args:
        ready: all parts of the run.
        folder: where it keeps everything.
        accelerator: devices, processes, precision.
        log: what it tells.
        reference: compare with the captioner as it was before the first step (KL), even where the loss does not.
    """

    def __init__(
        self, ready: Prepared, folder: RunFolder, accelerator: Accelerator, log: RunLog, *, reference: bool = True
    ) -> None:
        from trainers.data import Batches

        self.ready, self.config = ready, ready.config
        self.folder, self.accelerator, self.log = folder, accelerator, log
        self.progress = Progress()
        self.keeper = Keeper(folder, accelerator)
        self.policy: Captioner = ready.captioner.to(accelerator.device)
        wanted = ready.optimizer.needs_reference or (reference and ready.optimizer.needs_reward)
        self.reference = self.policy.frozen_copy() if wanted else None
        self.optimizer: Any
        self.model, self.optimizer = accelerator.prepare(self.policy, adamw(self.policy, ready.config.training))
        rank, world = accelerator.process_index, accelerator.num_processes
        training, rewards = self.config.training, ready.rewards
        self.batches: Batches = Batches(
            ready.train,
            self.policy.preprocessing,
            batch_size=training.batch_size,
            seed=self.config.seed,
            rank=rank,
            world=world,
            workers=self.config.data.workers,
            also=ready.preprocessings,
        )
        self.stepper = Stepper(
            self.policy, self.model, self.reference, ready.optimizer, rewards, accelerator, self.config.seed
        )
        self._repetition = load("repetition")
        self._stop_asked = False
        self._since = time.perf_counter()
        self._sums: dict[str, list[float]] = {}

    def run(self) -> Progress:
        """Train to the end, from wherever the run's folder says it is.

        Raises:
            ProgramError: a loss or reward that is no number; the batch is kept in the run's folder.
            InputError: too many broken samples, or a full disk.
        """
        self.restore()
        if self.progress.finished:
            return self.progress
        before = signal.signal(signal.SIGTERM, self._ask_to_stop)
        try:
            if self.progress.step == 0:
                self.evaluate()
            batches = iter(self.batches)
            while not self.progress.finished and self.progress.step < self.ready.steps:
                self.update(batches)
                self.after_step()
                if self._stop_everywhere():
                    self.save_checkpoint()
                    self.log.say(f"stopped at step {self.progress.step:,}; run the same command to go on")
                    raise SystemExit(128 + signal.SIGTERM)
            self.progress.finished = self.progress.finished or f"all {self.ready.steps:,} steps done"
            self.keeper.save_captioner(self.policy, self.folder.last)
            self.save_checkpoint()
        except NonFinite as found:
            raise self._kept(found) from found
        finally:
            signal.signal(signal.SIGTERM, before)
        return self.progress

    def update(self, batches: Iterator[Batch]) -> None:
        """One update of the weights."""
        step, training = self.progress.step, self.config.training
        generator = self.stepper.begin(step)
        due = (step + 1) % self.config.logging.every == 0
        monitored = (step + 1) % self.config.reward.every == 0
        works: list[Collected] = []
        for _ in range(training.accumulation):
            batch = next(batches)
            self._count_broken(batch.broken)
            works.append(self.stepper.collect(batch, generator, monitored=monitored, compared=due))
        self.stepper.shape_rewards(works)
        rate = learning_rate(training, step, self.ready.steps, self.policy.width)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        stats = self.stepper.learn(works)
        norm = self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        self._note(works, {**{k: float(v) for k, v in stats.items()}, "grad_norm": norm, "lr": rate}, due)

    def after_step(self) -> None:
        """Evaluate and keep a checkpoint where it is time for it."""
        step, last = self.progress.step, self.progress.step >= self.ready.steps
        if step % self.config.evaluation.every == 0 or last:
            self.evaluate()
        if (step % self.config.checkpoint.every == 0 and not last) and not self.progress.finished:
            self.save_checkpoint()

    def evaluate(self) -> None:
        """Caption the held-out items, judge them, keep the best captioner, and end the run if patience is over."""
        if self.ready.val is None:
            return
        config, step = self.config.evaluation, self.progress.step
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        found = caption_items(
            self.policy,
            self.ready.val,
            self.decoding(),
            batch_size=config.batch_size,
            rank=rank,
            world=world,
            workers=self.config.data.workers,
        )
        found = gathered(found, self.accelerator)
        values: dict[str, float] = {}
        if self.accelerator.is_main_process:
            scores = judge(found, self.ready.metrics)
            flat = [s for score in scores.values() for s in (score.parts.values() if score.family else [score])]
            values = {s.name: s.value for s in flat}
            values["unfinished"] = 1 - found.finished
            write_samples(self.folder.samples(step), found, config.samples)
        values = shared(values, self.accelerator)
        self.log.row("eval", step, values)
        self._choose(values)
        self._since = time.perf_counter()

    def decoding(self) -> Decoding:
        """How captions are searched in evaluations."""
        from trainers.decoding import Decoding

        config = self.config.evaluation
        return Decoding(method="beam", beams=config.beams, max_length=config.max_length)

    def save_checkpoint(self) -> None:
        """Write all that the run needs to go on."""
        self.progress.data = self.batches.state_dict()
        if self.ready.rewards is not None:
            self.progress.moments = asdict(self.ready.rewards.moments)
        self.keeper.save(self.progress, self.config.checkpoint.keep)

    def restore(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        found = self.keeper.restore()
        if found is None:
            return
        self.progress = found
        self.batches.load_state_dict(found.data)
        if self.ready.rewards is not None and found.moments:
            self.ready.rewards.moments = RunningMoments(**found.moments)
        if found.finished.startswith("all ") and found.step < self.ready.steps:
            found.finished = ""  # the run was lengthened
        if not found.finished:
            self.log.say(f"going on from step {found.step:,} of {self.ready.steps:,}")

    def _choose(self, values: dict[str, float]) -> None:
        value, best = values[self.ready.best], self.progress.best
        lower = next((m for m in self.ready.metrics if (m.label or m.name) == self.ready.best), None)
        sign = -1 if lower is not None and lower.higher_is_better is False else 1
        if value == value and (best is None or sign * value > sign * best):
            self.progress.best, self.progress.best_step, self.progress.without = value, self.progress.step, 0
            self.keeper.save_captioner(self.policy, self.folder.best)
            return
        self.progress.without += 1
        patience = self.config.evaluation.patience
        if patience is not None and self.progress.without >= patience:
            best_step = self.progress.best_step
            self.progress.finished = f"no better {self.ready.best} in {patience} evaluations since step {best_step:,}"

    def _clip(self) -> float:
        limit = self.config.training.clip
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), float("inf") if limit is None else limit)
        return float(norm) if norm is not None else 0.0

    def _note(self, works: list[Collected], values: dict[str, float], due: bool) -> None:
        """Collect what a step tells; a row for every ``logging.every`` steps, the mean over them."""
        for work in works:
            for name, value in work.parts.items():
                values[f"reward/{name}"] = values.get(f"reward/{name}", 0.0) + value / len(works)
        values["tokens"] = float(sum(int(w.candidates.learned_mask().sum()) for w in works))
        for name, value in values.items():
            self._sums.setdefault(name, []).append(value)
        if not due:
            self.log.at(self.progress.step, values)
            return
        row = {name: sum(v) / len(v) for name, v in self._sums.items() if name != "tokens"}
        seconds = time.perf_counter() - self._since
        row["tokens/s"] = sum(self._sums["tokens"]) * self.accelerator.num_processes / max(seconds, 1e-9)
        row["images"] = float(self.progress.step * self.config.training.accumulation * self.batches.global_batch)
        texts = [text for work in works for text in work.texts]
        if texts:
            row["repetition"] = self._repetition.corpus(Samples(texts)).value
        self.log.row("train", self.progress.step, row)
        self.log.at(self.progress.step, row)
        self._sums, self._since = {}, time.perf_counter()

    def _count_broken(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self.log.say(f"skipped: {sentence}")
        self.progress.broken += len(sentences)
        limit = self.config.data.broken_limit
        if self.progress.broken > limit:
            raise InputError(
                f"{self.progress.broken:,} samples cannot be read, more than data.broken_limit={limit}; "
                f"{self.folder.log} names them"
            )

    def _kept(self, found: NonFinite) -> ProgramError:
        path = self.folder.path / f"nonfinite-step-{self.progress.step:08d}-{self.accelerator.process_index}.json"
        text = json.dumps(found.rows, indent=1, ensure_ascii=False)
        write_beside(path, lambda beside: _write(beside, text))
        return ProgramError(f"a {found.what} at step {self.progress.step:,} is not finite; its batch is kept in {path}")

    def _ask_to_stop(self, *_: object) -> None:
        self._stop_asked = True

    def _stop_everywhere(self) -> bool:
        """Whether any process was asked to stop."""
        if self.accelerator.num_processes == 1:
            return self._stop_asked
        asked = torch.tensor(float(self._stop_asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, reduction="sum") > 0)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
