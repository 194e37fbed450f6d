"""The one loop: step, evaluate, keep, log, stop early, and take up again where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch

from capreward.errors import InputError, ProgramError
from capreward.files import write_text_beside
from capreward.samples import Samples
from capreward.scoring import load
from trainers.captioners.base import Captioner
from trainers.data.dataset import counted
from trainers.evaluation import caption_items, judge, write_samples
from trainers.gathering import gathered, shared
from trainers.keeping import Keeper, Progress, fingerprint
from trainers.preparing import Prepared
from trainers.rewards import RunningMoments
from trainers.run_folder import RunFolder
from trainers.schedules import adamw, learning_rate
from trainers.stepping import Collected, NonFinite, Stepper
from trainers.stopping import Stopping
from trainers.tally import Tally
from trainers.watching import Watch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

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
            self.policy,
            self.model,
            self.reference,
            ready.optimizer,
            rewards,
            accelerator,
            self.config.seed,
            ready.diagnostics,
        )
        self.watch = Watch(folder, log)
        self.tally = Tally()
        self.begun = ""  # the fingerprint of the weights that the reference policy has
        self._repetition = load("repetition")
        self.worked = False  # whether run() found anything to do
        self._unread: set[str] = set()

    def run(self) -> Progress:
        """Train to the end, from wherever the run's folder says it is.

        Raises:
            ProgramError: a loss, gradient or reward that is no number; the batch is kept in the run's folder.
            InputError: too many broken samples, or a full disk.
            SystemExit: a signal asked to stop; a checkpoint is written.
        """
        self.restore()
        if self.progress.finished:
            return self.progress
        self.worked = True
        with Stopping(self.accelerator) as stopping:
            try:
                if self.progress.step == 0:
                    self.evaluate()
                self._steps(stopping)
            except NonFinite as found:
                raise self._kept(found) from found
            except ProgramError:
                if stopping.asked:  # the signal has reached the processes that read as well
                    self._stop(stopping.asked, kept=False)
                raise
        return self.progress

    def _steps(self, stopping: Stopping) -> None:
        batches = iter(self.batches)
        while not self.progress.finished and self.progress.step < self.ready.steps:
            self.update(batches)
            self.after_step()
            asked = stopping.everywhere()
            if asked and self.progress.step < self.ready.steps:
                self.save_checkpoint()
                self._stop(asked, kept=True)
        self.progress.finished = self.progress.finished or f"all {self.ready.steps:,} steps done"
        self.keeper.save_captioner(self.policy, self.folder.last)
        self.save_checkpoint()

    def _stop(self, asked: int, *, kept: bool) -> None:
        where = "" if kept else " without a checkpoint"
        self.log.say(f"stopped at step {self.progress.step:,}{where}; run the same command to go on")
        raise SystemExit(128 + asked)

    def update(self, batches: Iterator[Batch]) -> None:
        """One update of the weights.

        Raises:
            NonFinite: a loss, gradient or reward is no number; the weights are as before.
        """
        began = time.perf_counter()
        step, training = self.progress.step, self.config.training
        generator = self.stepper.begin(step)
        due = (step + 1) % self.config.logging.every == 0
        last = step + 1 >= self.ready.steps
        monitored = (step + 1) % self.config.reward.every == 0
        diagnosed = self.ready.diagnostics is not None and self.ready.diagnostics.due(step)
        works: list[Collected] = []
        for number in range(training.accumulation):
            batch = next(batches)
            self._count_broken(batch.broken)
            part = (number, training.accumulation) if diagnosed else None
            works.append(
                self.stepper.collect(batch, generator, monitored=monitored, compared=due or last, diagnosed=part)
            )
        self.stepper.shape_rewards(works)
        rate = learning_rate(training, step, self.ready.steps, self.policy.width)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        stats = self.stepper.learn(works)
        values = self._checked(stats, self._clip(), works)
        values |= self.stepper.diagnosed(works) if diagnosed else {}
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        values["lr"] = rate
        self.tally.add(values, values.pop("tokens"), time.perf_counter() - began)
        if due or last:
            self._row(works)
        else:
            self.log.at(self.progress.step, values)
        if due:  # a row for the last step alone takes nothing from the one that is due, if the run is lengthened
            self.tally.clear()

    def _checked(self, stats: dict[str, Tensor], norm: Tensor, works: list[Collected]) -> dict[str, float]:
        """The statistics as numbers, in one look at the device."""
        numbers = torch.stack([*stats.values(), norm.to(stats["loss"].device)]).tolist()
        values = dict(zip([*stats, "grad_norm"], numbers, strict=True))
        if not isfinite(values["loss"]):
            raise NonFinite("loss", works)
        if not isfinite(values["grad_norm"]) and self.accelerator.scaler is None:  # fp16's scaler expects such
            raise NonFinite("gradient", works)
        return values

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
        self.log.busy("evaluating")
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
        known = self.ready.pictures
        found.pictures = [known.get(key, picture) for key, picture in zip(found.keys, found.pictures, strict=True)]
        for sentence in found.broken:
            if sentence not in self._unread:  # told once, not in every evaluation
                self.log.say(f"not evaluated: {sentence}")
        self._unread.update(found.broken)
        values: dict[str, float] = {}
        if self.accelerator.is_main_process:
            scores = judge(found, self.ready.metrics)
            flat = [s for score in scores.values() for s in (score.parts.values() if score.family else [score])]
            values = {s.name: s.value for s in flat}
            values["unfinished"] = 1 - found.finished
            if self.ready.diagnostics is not None:
                values |= self.ready.diagnostics.held_out(found, values)
            write_samples(self.folder.samples(step), found, config.samples)
        values = shared(values, self.accelerator)
        self.log.row("eval", step, values)
        self.watch.see("eval", step, values)
        self._choose(values)

    def decoding(self) -> Decoding:
        """How captions are searched in evaluations."""
        from trainers.decoding import Decoding

        config = self.config.evaluation
        return Decoding(method="beam", beams=config.beams, max_length=config.max_length)

    def save_checkpoint(self) -> None:
        """Write all that the run needs to go on."""
        self.log.busy("saving")
        self.progress.data, self.progress.sums, self.progress.start = (
            self.batches.state_dict(),
            self.tally.sums,
            self.begun,
        )
        if self.ready.rewards is not None:
            self.progress.moments = asdict(self.ready.rewards.moments)
        self.progress.warned = self.watch.warned
        self.keeper.save(self.progress, self.config.checkpoint.keep)

    def restore(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        self.begun = "" if self.reference is None else fingerprint(self.reference)
        found = self.keeper.restore()
        if found is None:
            if self.accelerator.is_main_process:
                self.folder.forget()
            return
        if self.begun and found.start and found.start != self.begun:
            raise InputError(
                f"the captioner {self.config.captioner.init} is not the one that this run began with; as its "
                f"reference policy put that one back, or give another --run than {self.folder.path}"
            )
        self.progress, self.tally.sums = found, dict(found.sums)
        self.batches.load_state_dict(found.data)
        self.watch.remember(found.step, found.warned)
        if self.ready.rewards is not None and found.moments:
            self.ready.rewards.moments = RunningMoments(**found.moments)
        patience = self.config.evaluation.patience
        patient = found.finished.startswith("no better") and (patience is None or found.without < patience)
        if (found.finished.startswith("all ") or patient) and found.step < self.ready.steps:
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

    def _clip(self) -> Tensor:
        limit = self.config.training.clip
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), float("inf") if limit is None else limit)
        return torch.as_tensor(0.0 if norm is None else norm, dtype=torch.float32)

    def _row(self, works: list[Collected]) -> None:
        """A row for the log: means over the steps since the one before."""
        row = self.tally.means()
        row["images"] = float(self.progress.step * self.config.training.accumulation * self.batches.global_batch)
        texts = [text for work in works for text in work.learned_texts()]
        if texts and "repetition" not in row:
            row["repetition"] = self._repetition.corpus(Samples(texts)).value
        self.log.row("train", self.progress.step, row)
        self.watch.see("train", self.progress.step, row)
        self.log.at(self.progress.step, row)

    def _count_broken(self, sentences: list[str]) -> None:
        """Name samples that cannot be read, each once, and give up after too many of them."""
        known = self.progress.broken
        for sentence in sentences:
            if sentence not in known:
                self.log.say(f"skipped: {sentence}", everywhere=True)
                known.append(sentence)
        limit = self.config.data.broken_limit
        if len(known) > limit:
            raise InputError(
                f"{counted(len(known), 'sample')} cannot be read, more than data.broken_limit={limit}; "
                f"{self.folder.log} names them"
            )

    def _kept(self, found: NonFinite) -> ProgramError:
        step = self.progress.step + 1
        path = self.folder.path / f"nonfinite-step-{step:08d}-{self.accelerator.process_index}.json"
        text = json.dumps(found.rows, indent=1, ensure_ascii=False)
        write_text_beside(path, text)
        hint = {"reward": "mend the reward"}.get(found.what, "try a lower --lr, or --precision fp32")
        return ProgramError(f"a {found.what} at step {step:,} is not finite; its batch is kept in {path}: {hint}")
