"""``capreward tune``: fine-tune a CLIP evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from capreward.command_classes import Command, joined_option
from trainers.commands.tune_values import FLAGS, values_of


def _flags(command: Any) -> Any:
    """Add the options that stand for common settings; see ``FLAGS``."""
    for option in reversed(
        [
            click.option("--base", help="CLIP to begin with: a file, a folder, MODEL:TAG or scenes-clip."),
            click.option("--prompt", help="Put before every text; the rewards put 'A photo depicts '."),
            click.option("--slim", is_flag=True, default=None, help="Write no image tower that is the base's."),
            click.option("--fp16", is_flag=True, default=None, help="Write 16-bit numbers; the head keeps its 32."),
            click.option("--data", help="Captions and images: shards, a caption file, a Karpathy file, scenes."),
            click.option(
                "-i", "--images", help="Images of --data: a folder, shards, a table, a feature store, or none."
            ),
            click.option("--split", help="Of a Karpathy file: train, or train+restval."),
            click.option("--count", type=click.IntRange(1), help="The first so many items alone."),
            click.option("--val", help="Held-out captions and images."),
            click.option("--val-images", help="Images of --val, where they are not those of --data."),
            click.option("--val-split", help="Of a Karpathy file."),
            click.option("--val-count", type=click.IntRange(1), help="The first so many held-out items alone."),
            click.option("--more-captions", help="Further captions of the items, for pac: a caption file, or scenes."),
            click.option("--more-images", help="Further images of the items, for pac: a folder, shards, or scenes."),
            click.option("--allow-missing", is_flag=True, default=None, help="Leave out captions without a picture."),
            click.option("--steps", type=click.IntRange(0), help="Updates of the weights."),
            click.option("--epochs", type=float, help="Passes over the items, in place of --steps."),
            click.option("--batch-size", type=click.IntRange(1), help="Pairs per process and step."),
            click.option("--lr", type=float, help="Learning rate."),
            click.option("--eval-every", type=click.IntRange(1), help="Steps between evaluations."),
            click.option("--best", help="Figure that chooses the best weights; default: the held-out loss."),
            click.option("--patience", type=click.IntRange(1), help="Stop after so many evaluations with no new best."),
            click.option("--save-every", type=click.IntRange(1), help="Steps between checkpoints."),
            joined_option("--track", help="tensorboard, wandb, trackio: comma-separated; metrics.jsonl comes always."),
            click.option("--workers", type=click.IntRange(0), help="Processes that decode pictures."),
            click.option("--device", help="auto, cpu, cuda."),
            click.option("--precision", help="fp32 or bf16."),
            click.option("--seed", type=click.IntRange(0), help="Of everything drawn by lot."),
            click.option("--download", is_flag=True, default=None, help="Fetch named weights that are not here."),
        ]
    ):
        command = option(command)
    return command


@click.command(cls=Command)
@_flags
@click.option("-r", "--run", type=click.Path(path_type=Path), help="Folder of the run; default: runs/tune-RECIPE.")
@click.option("--recipe", help="A named set-up (capreward ls recipes); flags win over it.")
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings; it wins over the recipe.")
@click.option("--set", "sets", multiple=True, help="Any setting, as in --set training.clip=1. It wins over all.")
@click.option("--dry-run", is_flag=True, help="Check everything; print configuration, sizes and steps; train nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
def tune(**options: Any) -> None:
    """Tune a CLIP that judges captions: a grammar head, or positive-augmented pairs (PAC-S).

    With no data named it learns on the embedded scenes world. The same command goes on where an interrupted run
    stopped; torchrun and accelerate launch run it on several GPUs, which compare each pair with those of all.

    \b
    capreward tune --recipe scenes-grammar
    capreward score captions.json --images photos/ -m "clips(checkpoint=runs/tune-scenes-grammar/best)"
    capreward tune --recipe grammar --data dataset_coco.json --split train+restval --images coco-store/ \\
        --val dataset_coco.json --val-split val
    capreward tune --recipe grammar-better --data captions.txt --base ViT-B-32:openai    # texts alone
    capreward tune --recipe grammar --dry-run
    """
    from trainers.commands.train_values import flag_values
    from trainers.tuning.config import build
    from trainers.tuning.tuning_session import describe, run_tuning

    values, notes = values_of(flag_values(options, FLAGS), options["recipe"], options["config"], options["sets"])
    config = build(values)
    if options["dry_run"]:
        describe(config, notes)
        return
    name = options["recipe"] or config.objective["name"]
    run_tuning(config, options["run"] or Path("runs") / f"tune-{name}", notes, quiet=options["quiet"])
