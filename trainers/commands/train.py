"""``capreward train``: one captioner, any optimizer, any reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from capreward.command_classes import Command, joined_option
from capreward.errors import InputError
from trainers.commands.train_values import flag_values, values_of


def _flags(command: Any) -> Any:
    """Add the options that stand for common settings; see ``flag_values``."""
    for option in reversed(
        [
            click.option("--optimizer", help="xe, scst or dico."),
            click.option("--reward", help='An evaluator or expression, as in "2*clips + cider-d".'),
            click.option("--captioner", help="Start from: a folder, a run, a released checkpoint, or scenes."),
            click.option("--tower", help="CLIP weights a new captioner looks through; or patch, or stored."),
            click.option("--data", help="Captions and pictures: shards, datasets.json:NAME, a caption file, scenes."),
            click.option("-i", "--images", help="Pictures of --data: a folder, shards, a table or a feature store."),
            click.option("--split", help="Of a Karpathy file: train, or train+restval."),
            click.option("--count", type=click.IntRange(1), help="The first so many items alone."),
            click.option("--val", help="Held-out captions and pictures."),
            click.option("--val-images", help="Pictures of --val, where they are not those of --data."),
            click.option("--val-split", help="Of a Karpathy file."),
            click.option("--val-count", type=click.IntRange(1), help="The first so many held-out items alone."),
            click.option("--reward-images", help="Pictures or features for rewards and metrics, if not --images."),
            click.option("--allow-missing", is_flag=True, default=None, help="Leave out captions without a picture."),
            click.option("--steps", type=click.IntRange(0), help="Updates of the weights."),
            click.option("--epochs", type=float, help="Passes over the data, in place of --steps."),
            click.option("--batch-size", type=click.IntRange(1), help="Images per process and step."),
            click.option("--accumulation", type=click.IntRange(1), help="Micro-batches per step."),
            click.option("--lr", type=float, help="Learning rate."),
            click.option("--candidates", type=click.IntRange(1), help="Captions per image that scst or dico compare."),
            click.option("--baseline", help="Of scst: greedy, mean (of the other samples) or none."),
            joined_option("--monitor", help="Rewards that are logged and not learned from, comma-separated."),
            click.option("--reward-every", type=click.IntRange(1), help="Steps between the monitors' values."),
            click.option("--judge", help="An evaluator that watches the reward; of scenes its held-out judge."),
            click.option("--diagnostics/--no-diagnostics", default=None, help="Watch whether the reward is gamed."),
            joined_option("-m", "--metrics", help="Of the evaluations; default: cider and the reward."),
            click.option("--eval-every", type=click.IntRange(1), help="Steps between evaluations."),
            click.option("--best", help="Metric that chooses the best captioner; default: the first, or the reward."),
            click.option("--patience", type=click.IntRange(1), help="Stop after so many evaluations with no new best."),
            click.option("--save-every", type=click.IntRange(1), help="Steps between checkpoints."),
            joined_option("--track", help="tensorboard, wandb, trackio: comma-separated; metrics.jsonl comes always."),
            click.option("--workers", type=click.IntRange(0), help="Processes that decode pictures."),
            click.option("--device", help="auto, cpu, cuda."),
            click.option("--precision", help="fp32, bf16 or fp16."),
            click.option("--seed", type=click.IntRange(0), help="Of everything drawn by lot."),
            click.option("--plugin", multiple=True, help="Python file of @reward functions."),
            click.option("--download", is_flag=True, default=None, help="Fetch named weights that are not here."),
        ]
    ):
        command = option(command)
    return command


@click.command(cls=Command)
@_flags
@click.option("-r", "--run", type=click.Path(path_type=Path), help="Folder of the run; default: runs/OPTIMIZER-REWARD.")
@click.option("--recipe", help="A named set-up (capreward ls recipes); flags win over it.")
@click.option("--config", type=click.Path(path_type=Path), help="A YAML file of settings; it wins over the recipe.")
@click.option("--set", "sets", multiple=True, help="Any setting, as in --set training.clip=0.1. It wins over all.")
@click.option("--dry-run", is_flag=True, help="Check everything; print configuration, sizes and steps; train nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
def train(**options: Any) -> None:
    """Train a captioner with cross-entropy (xe), or against any reward with scst or dico.

    With no data named it learns on the embedded scenes world, from the captioner that ships with it. The same command
    goes on where an interrupted run stopped; torchrun and accelerate launch run it on several GPUs.

    \b
    capreward train --optimizer dico --reward pacs
    capreward train --optimizer scst --reward "2*clips + cider-d" --baseline mean
    capreward train --recipe dico-coco --data datasets.json:coco_training_dico --captioner runs/xe
    capreward train --optimizer xe --tower ViT-L-14:openai --data dataset_coco.json --split train+restval \\
        --images coco/ --val dataset_coco.json --val-split val --epochs 10
    capreward train --recipe dico-coco --dry-run
    """
    from trainers.runs.config_files import build

    values, notes = values_of(flag_values(options), options["recipe"], options["config"], options["sets"])
    config = build(values)
    from trainers.runs.preparation import check_reward_used
    from trainers.runs.session import describe, run_training

    check_reward_used(config)
    folder = options["run"] or Path("runs") / default_name(config.optimizer["name"], config.reward.expression)
    if options["dry_run"]:
        describe(config, notes)
        return
    run_training(config, folder, notes, quiet=options["quiet"])


def default_name(optimizer: str, reward: str | None) -> str:
    """A folder name that tells optimizer and reward apart from others."""
    if reward is None or optimizer == "xe":
        return optimizer
    kept = "".join(c if c.isalnum() or c in "-." else "_" for c in reward.replace(" ", ""))
    if not kept.strip("_.-"):
        raise InputError(f"--reward {reward!r} names nothing")
    return f"{optimizer}-{kept[:80]}"
