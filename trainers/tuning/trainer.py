"""Tuning of an evaluator: what a step learns, and how held-out pairs are judged."""

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
from trainers.tuning.held_out import figures_of, look_at
from trainers.tuning.pairs import LoadedBatch, PairBatches, PairMaker
from trainers.tuning.preparation import PreparedTuning
from trainers.tuning.towers import Towers, fast_attention, name_of, pooled, share_gradients
from trainers.tuning.tuned_folder import write_tuned

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from trainers.runs.log import RunLog
    from trainers.tuning.objective import Pairs

RESERVED = frozenset(("step", "kind", "grad_norm", "lr", "pairs", "tokens/s"))  # of a row, whatever the objective
LARGEST_SCALE = math.log(100)  # of the logit scale, as CLIP was trained


def decays_as_published(kept: str, _: nn.Parameter) -> bool:
    """Whether CLIP-Caption-Reward decays a parameter: all but names with ``bias`` or ``LayerNorm.weight``."""
    name = name_of(kept)
    return "bias" not in name and "LayerNorm.weight" not in name


class TuningTrainer(Trainer):
    """The tuning of a CLIP.

    Args:
        ready: all parts of the run.
        folder: where it keeps everything.
        accelerator: devices, processes, precision.
        log: what it tells.
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
        self.learnt = [p for p in trained.parameters() if p.requires_grad]
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
        self._unread: set[str] = set()

    def update(self, batches: Iterator[LoadedBatch]) -> None:
        """One update of the weights.

        Raises:
            NonFinite: the loss or the gradient is no number; the weights are as before.
        """
        began = time.perf_counter()
        step, training = self.progress.step, self.config.training
        loaded = next(batches)
        self.count_broken([*loaded.batch.broken, *([] if loaded.more is None else loaded.more.broken)])
        pairs, chances = self.maker.pairs(loaded, step, self.rank * training.batch_size)
        texts = self.objective.texts(pairs, chances)
        torch.manual_seed((self.config.seed * 1_000_003 + step) * 4099 + self.rank)  # of dropout
        self.towers.train()
        loss, told, tokens = self.loss(pairs, texts)
        check_names(f"the objective {self.objective.name}", told, RESERVED)
        self.accelerator.backward(loss)
        share_gradients(self.learnt, self.accelerator)
        rows = [{"key": key, "caption": c} for key, c in zip(loaded.batch.keys, pairs.captions, strict=True)]
        values = self.checked({"loss": loss.detach(), **told}, self.clip(), lambda: rows)
        rate = learning_rate(training, step, self.steps, self.width)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        if training.clamp:
            with torch.no_grad():
                self.ready.clip.model.logit_scale.clamp_(max=LARGEST_SCALE)
        self.progress.step += 1
        self._tell({**values, "lr": rate}, tokens * self.world, time.perf_counter() - began)

    def loss(self, pairs: Pairs, texts: list[str]) -> tuple[Tensor, dict[str, Tensor], int]:
        """The loss of the pairs of all processes, what is told of it, and the tokens of this one's texts."""
        pool = self.accelerator
        with pool.autocast(), fast_attention(self.towers.device):
            image = None if pairs.images is None else self.towers.image(pairs.images)
            more = None if pairs.more_images is None else self.towers.image(pairs.more_images)
            read = self.towers.text(texts, self.objective.prefix_labels if self.objective.prefixes else None)
        kinds = len(texts) // len(pairs.captions)
        image, more = (None if rows is None else pooled(rows, pool) for rows in (image, more))
        states, features = (pooled(rows, pool, kinds) for rows in (read.states, read.features))
        loss, told = self.objective.loss(image, more, states, features, self.ready.extra, self.towers.scale())
        if read.prefixes is not None and read.labels is not None:
            prefix = self.objective.prefix_loss(read.prefixes, read.labels, self.ready.extra)
            # The mean over the tokens of all processes, of whose gradients the mean is taken.
            count = torch.tensor(float(len(read.labels)), device=prefix.device)
            prefix = prefix * (count * pool.num_processes / pool.reduce(count, reduction="sum"))
            told["prefix_loss"] = pool.reduce(prefix.detach(), reduction="mean")
            told["loss"] = loss.detach() + self.objective.prefixes * told["prefix_loss"]
            loss = loss + self.objective.prefixes * prefix
        return loss, told, read.tokens

    def evaluate(self) -> None:
        """Loss, figures and retrieval of the held-out pairs; keep the best weights."""
        if self.ready.val is None:
            return
        self.log.busy("evaluating")
        self.towers.train(False)
        with torch.no_grad():  # in float32 whatever the precision of learning: these are the figures of what is written
            parts, broken = look_at(self.ready, self.towers, self.accelerator)
        for sentence in broken:
            if sentence not in self._unread:  # told once, not in every evaluation
                self.log.say(f"not evaluated: {sentence}")
        self._unread.update(broken)
        values: dict[str, float] = {}
        if self.accelerator.is_main_process:
            with torch.no_grad():
                values = figures_of(parts, self.objective, self.ready.extra, self.towers.scale())
        values = broadcast_values(values, self.accelerator)
        self.log.row("eval", self.progress.step, values)
        best = self.ready.best
        if best not in values:
            near = difflib.get_close_matches(best, values, n=1)
            hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(values)}"
            raise InputError(f"evaluation.best is {best!r}, which is none of the figures; {hint}")
        self.choose(best, values[best], lower="loss" in best)

    def write(self, path: Path) -> None:
        """The CLIP as it is now."""
        write_tuned(self.ready, self.progress.step, path)

    def _tell(self, values: dict[str, float], tokens: int, seconds: float) -> None:
        """Count a step in; a row for the log where one is due, and after the last step."""
        step = self.progress.step
        due = step % self.config.logging.every == 0
        self.tally.add(values, tokens, seconds)
        if due or step >= self.steps:
            row = {**self.tally.means(), "pairs": float(step * self.config.training.batch_size * self.world)}
            self.log.row("train", step, row)
            self.log.at(step, row)
        else:
            self.log.at(step, values)
        if due:
            self.tally.clear()
