"""The trainer that tunes an evaluator."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from capreward.encoders.model.text_tower import state_width
from capreward.errors import InputError
from trainers.evaluation.processes import broadcast_values
from trainers.optimizers.named_classes import check_names
from trainers.runs.folder import RunFolder
from trainers.runs.schedules import adamw, is_matrix, learning_rate
from trainers.runs.trainer import Trainer
from trainers.tuning.held_out import encode_held_out, figures_of
from trainers.tuning.pairs import LoadedBatch, PairBatches, PairMaker
from trainers.tuning.preparation import PreparedTuning
from trainers.tuning.towers import Towers, average_gradients, fast_attention, gather_rows, name_of
from trainers.tuning.tuned_folder import write_tuned

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from trainers.runs.log import RunLog
    from trainers.tuning.objective import Pairs

RESERVED = frozenset(("step", "kind", "grad_norm", "lr", "pairs", "tokens/s"))  # of a row, whatever the objective
LARGEST_SCALE = math.log(100)  # of the logit scale, as CLIP was trained


def decays_as_published(parameter: str, _: nn.Parameter) -> bool:
    """Return whether CLIP-Caption-Reward decays a parameter: all but names with ``bias`` or ``LayerNorm.weight``."""
    name = name_of(parameter)
    return "bias" not in name and "LayerNorm.weight" not in name


class TuningTrainer(Trainer):
    """The trainer of a CLIP that is tuned.

    Args:
        ready: All parts of the run.
        folder: The folder of the run.
        accelerator: The accelerator: devices, processes and precision.
        log: The log of the run.
    """

    def __init__(self, ready: PreparedTuning, folder: RunFolder, accelerator: Accelerator, log: RunLog) -> None:
        super().__init__(ready.config, ready.steps, folder, accelerator, log)
        self.ready, self.config, self.objective = ready, ready.config, ready.objective
        training = self.config.training
        self.towers = Towers(ready.clip, ready.extra, self.config.prompt, training.chunk)
        trained = self.towers.trained()
        decays = decays_as_published if training.decay == "published" else is_matrix
        # Parallel training wraps modules whose forward pass it sees; here gradients are shared by hand.
        self.model = accelerator.prepare_model(trained, evaluation_mode=True)
        self.optimizer: Any = accelerator.prepare_optimizer(adamw(trained, training, decays))
        self.trained_parameters = [p for p in trained.parameters() if p.requires_grad]
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.width = state_width(ready.clip.model)
        self.image_steps = ready.base.spec.preprocessing
        self.batches = PairBatches(
            ready.train,
            self.image_steps,
            batch_size=training.batch_size,
            seed=self.config.seed,
            rank=self.rank,
            world=self.world,
            workers=self.config.data.workers,
        )
        self.maker = PairMaker(ready.train, self.image_steps, accelerator.device, self.config.seed)
        self._reported_broken: set[str] = set()

    def update(self, batches: Iterator[LoadedBatch]) -> None:
        """Make one update of the weights.

        Raises:
            NonFinite: The loss or the gradient is not finite; the weights are as before.
        """
        began = time.perf_counter()
        step, training = self.progress.step, self.config.training
        loaded = next(batches)
        self.count_broken([*loaded.batch.broken, *([] if loaded.more is None else loaded.more.broken)])
        pairs, chances = self.maker.pairs(loaded, step, self.rank * training.batch_size)
        texts = self.objective.texts(pairs, chances)
        torch.manual_seed((self.config.seed * 1_000_003 + step) * 4099 + self.rank)  # of dropout
        self.towers.train()
        loss, stats, tokens = self.loss(pairs, texts)
        check_names(f"the objective {self.objective.name}", stats, RESERVED)
        self.accelerator.backward(loss)
        average_gradients(self.trained_parameters, self.accelerator)
        rows = [{"key": key, "caption": c} for key, c in zip(loaded.batch.keys, pairs.captions, strict=True)]
        values = self.finite_values({"loss": loss.detach(), **stats}, self.clip_gradient(), lambda: rows)
        rate = learning_rate(training, step, self.steps, self.width)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        if training.clamp:
            with torch.no_grad():
                self.ready.clip.model.logit_scale.clamp_(max=LARGEST_SCALE)
        self.progress.step += 1
        self._log_step({**values, "lr": rate}, tokens * self.world, time.perf_counter() - began)

    def loss(self, pairs: Pairs, texts: list[str]) -> tuple[Tensor, dict[str, Tensor], int]:
        """Return the loss of all processes' pairs, its statistics, and the number of tokens of this process's texts."""
        accelerator = self.accelerator
        with accelerator.autocast(), fast_attention(self.towers.device):
            image = None if pairs.images is None else self.towers.image(pairs.images)
            more = None if pairs.more_images is None else self.towers.image(pairs.more_images)
            encoded = self.towers.text(texts, self.objective.prefix_labels if self.objective.prefixes else None)
        kinds = len(texts) // len(pairs.captions)
        image, more = (None if rows is None else gather_rows(rows, accelerator) for rows in (image, more))
        states, features = (gather_rows(rows, accelerator, kinds) for rows in (encoded.states, encoded.features))
        loss, stats = self.objective.loss(image, more, states, features, self.ready.extra, self.towers.scale())
        if encoded.prefixes is not None and encoded.labels is not None:
            prefix = self.objective.prefix_loss(encoded.prefixes, encoded.labels, self.ready.extra)
            # This is the mean over the tokens of all processes, because the gradients of all processes are averaged.
            count = torch.tensor(float(len(encoded.labels)), device=prefix.device)
            prefix = prefix * (count * accelerator.num_processes / accelerator.reduce(count, reduction="sum"))
            stats["prefix_loss"] = accelerator.reduce(prefix.detach(), reduction="mean")
            stats["loss"] = loss.detach() + self.objective.prefixes * stats["prefix_loss"]
            loss = loss + self.objective.prefixes * prefix
        return loss, stats, encoded.tokens

    def evaluate(self) -> None:
        """Compute loss, figures and retrieval of the held-out pairs, and keep the best weights."""
        if self.ready.val is None:
            return
        self.log.busy("evaluating")
        self.towers.train(False)
        with torch.no_grad():  # in float32 whatever the precision of learning: these are the figures of what is written
            batches, broken = encode_held_out(self.ready, self.towers, self.accelerator)
        for sentence in broken:
            if sentence not in self._reported_broken:  # logged once, not in every evaluation
                self.log.say(f"not evaluated: {sentence}")
        self._reported_broken.update(broken)
        values: dict[str, float] = {}
        if self.accelerator.is_main_process:
            with torch.no_grad():
                values = figures_of(batches, self.objective, self.ready.extra, self.towers.scale())
        values = broadcast_values(values, self.accelerator)
        self.log.row("eval", self.progress.step, values)
        best = self.ready.best
        if best not in values:
            near = difflib.get_close_matches(best, values, n=1)
            hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(values)}"
            raise InputError(f"evaluation.best is {best!r}, which is none of the figures; {hint}")
        self.keep_if_best(best, values[best], lower="loss" in best)

    def write(self, path: Path) -> None:
        """Write the CLIP as it is now."""
        write_tuned(self.ready, self.progress.step, path)

    def _log_step(self, values: dict[str, float], tokens: int, seconds: float) -> None:
        """Add a step to the running means, and log a row if one is due, or after the last step."""
        step = self.progress.step
        due = step % self.config.logging.every == 0
        self.running_means.add(values, tokens, seconds)
        if due or step >= self.steps:
            row = {**self.running_means.means(), "pairs": float(step * self.config.training.batch_size * self.world)}
            self.log.row("train", step, row)
            self.log.at(step, row)
        else:
            self.log.at(step, values)
        if due:
            self.running_means.clear()
