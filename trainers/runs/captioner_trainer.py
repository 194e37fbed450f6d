"""The trainer of captioners: its steps, and the evaluation of held-out captions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from capreward.samples import Samples
from capreward.scoring import load
from trainers.captioners.base import Captioner
from trainers.evaluation.captions import caption_items, score_captions, write_samples
from trainers.evaluation.processes import broadcast_values, gather_captions
from trainers.rewards.rewards import RunningMoments
from trainers.runs.checkpoints import Progress, fingerprint
from trainers.runs.folder import RunFolder
from trainers.runs.preparation import PreparedRun
from trainers.runs.schedules import adamw, learning_rate
from trainers.runs.step import CollectedBatch, Stepper, rows_of
from trainers.runs.trainer import Trainer
from trainers.watch.warnings import Watch

if TYPE_CHECKING:
    from accelerate import Accelerator

    from trainers.data import Batch
    from trainers.decoding import Decoding
    from trainers.runs.log import RunLog


class CaptionerTrainer(Trainer):
    """The trainer that trains a captioner, from its first step or its newest checkpoint to its end.

    Args:
        ready: All parts of the run.
        folder: The folder of the run.
        accelerator: The accelerator: devices, processes and precision.
        log: The log of the run.
        reference: Whether to compare with the captioner before the first step (KL), even if the loss does not need it.
    """

    def __init__(
        self, ready: PreparedRun, folder: RunFolder, accelerator: Accelerator, log: RunLog, *, reference: bool = True
    ) -> None:
        from trainers.data import Batches

        super().__init__(ready.config, ready.steps, folder, accelerator, log)
        self.ready, self.config = ready, ready.config
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
        self.reference_fingerprint = ""  # the fingerprint of the weights that the reference policy has
        self._repetition = load("repetition")
        self._reported_broken: set[str] = set()

    def update(self, batches: Iterator[Batch]) -> None:
        """Make one update of the weights.

        Raises:
            NonFinite: A loss, gradient or reward is not finite; the weights are as before.
        """
        began = time.perf_counter()
        step, training = self.progress.step, self.config.training
        generator = self.stepper.seed_step(step)
        due = (step + 1) % self.config.logging.every == 0
        last = step + 1 >= self.ready.steps
        monitored = (step + 1) % self.config.reward.every == 0
        is_diagnosed = self.ready.diagnostics is not None and self.ready.diagnostics.due(step)
        micro_batches: list[CollectedBatch] = []
        for number in range(training.accumulation):
            batch = next(batches)
            self.count_broken(batch.broken)
            part = (number, training.accumulation) if is_diagnosed else None
            micro_batches.append(
                self.stepper.collect(batch, generator, monitored=monitored, compared=due or last, diagnosed=part)
            )
        self.stepper.normalise_rewards(micro_batches)
        rate = learning_rate(training, step, self.ready.steps, self.policy.width)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        stats = self.stepper.accumulate_gradient(micro_batches)
        values = self.finite_values(stats, self.clip_gradient(), lambda: rows_of(micro_batches))
        values |= self.stepper.gather_diagnostics(micro_batches) if is_diagnosed else {}
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        values["lr"] = rate
        self.running_means.add(values, values.pop("tokens"), time.perf_counter() - began)
        if due or last:
            self._log_row(micro_batches)
        else:
            self.log.at(self.progress.step, values)
        if due:  # a row for the last step alone takes nothing from the one that is due, if the run is lengthened
            self.running_means.clear()

    def evaluate(self) -> None:
        """Caption the held-out items, score them, keep the best captioner, and end the run if patience is over."""
        if self.ready.val is None:
            return
        config, step = self.config.evaluation, self.progress.step
        self.log.busy("evaluating")
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        captioned = caption_items(
            self.policy,
            self.ready.val,
            self.decoding(),
            batch_size=config.batch_size,
            rank=rank,
            world=world,
            workers=self.config.data.workers,
        )
        captioned = gather_captions(captioned, self.accelerator)
        pictures = self.ready.pictures
        captioned.pictures = [
            pictures.get(key, picture) for key, picture in zip(captioned.keys, captioned.pictures, strict=True)
        ]
        for sentence in captioned.broken:
            if sentence not in self._reported_broken:  # logged once, not in every evaluation
                self.log.say(f"not evaluated: {sentence}")
        self._reported_broken.update(captioned.broken)
        values: dict[str, float] = {}
        if self.accelerator.is_main_process:
            scores = score_captions(captioned, self.ready.metrics)
            flat = [s for score in scores.values() for s in (score.parts.values() if score.family else [score])]
            values = {s.name: s.value for s in flat}
            values["unfinished"] = 1 - captioned.finished
            if self.ready.diagnostics is not None:
                values |= self.ready.diagnostics.measure_held_out(
                    captioned.captions, captioned.keys, captioned.pictures, captioned.references, values
                )
            write_samples(self.folder.samples(step), captioned, config.samples)
        values = broadcast_values(values, self.accelerator)
        self.log.row("eval", step, values)
        self.watch.add_row("eval", step, values)
        self._keep_if_best(values)

    def decoding(self) -> Decoding:
        """Return the search of captions in evaluations."""
        from trainers.evaluation.search_settings import search_of

        return search_of(self.config.evaluation)

    def save_checkpoint(self) -> None:
        """Write everything that the run needs to go on."""
        self.progress.start = self.reference_fingerprint
        if self.ready.rewards is not None:
            self.progress.moments = asdict(self.ready.rewards.moments)
        self.progress.warned = self.watch.warned
        super().save_checkpoint()

    def restore(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        self.reference_fingerprint = "" if self.reference is None else fingerprint(self.reference)
        super().restore()

    def check_restored(self, progress: Progress) -> None:
        """Refuse another captioner than the one that was the reference policy, and restore the rewards' moments."""
        if self.reference_fingerprint and progress.start and progress.start != self.reference_fingerprint:
            raise InputError(
                f"the captioner {self.config.captioner.init} is not the one that this run began with; as its "
                f"reference policy put that one back, or give another --run than {self.folder.path}"
            )
        self.watch.restore(progress.step, progress.warned)
        if self.ready.rewards is not None and progress.moments:
            self.ready.rewards.moments = RunningMoments(**progress.moments)

    def write(self, path: Path) -> None:
        """Write the captioner as it is now."""
        self.policy.save_pretrained(path)

    def _keep_if_best(self, values: dict[str, float]) -> None:
        metric = next((m for m in self.ready.metrics if (m.label or m.name) == self.ready.best), None)
        lower = metric is not None and metric.higher_is_better is False
        self.keep_if_best(self.ready.best, values[self.ready.best], lower=lower)

    def _log_row(self, micro_batches: list[CollectedBatch]) -> None:
        """Log a row of means over the steps since the last row."""
        row = self.running_means.means()
        row["images"] = float(self.progress.step * self.config.training.accumulation * self.batches.global_batch)
        texts = [text for micro_batch in micro_batches for text in micro_batch.learned_texts()]
        if texts and "repetition" not in row:
            row["repetition"] = self._repetition.corpus(Samples(texts)).value
        self.log.row("train", self.progress.step, row)
        self.watch.add_row("train", self.progress.step, row)
        self.log.at(self.progress.step, row)
