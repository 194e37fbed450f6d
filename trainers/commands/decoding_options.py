"""Flags of the decoding, and of where and how a captioner runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.options import CommandOptions, F
from capreward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainers.captioners.base import Captioner
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.decoding import Decoding

RULES = ("dico", "transformers", "clip-reward")
BATCH = 64  # images decoded at a time


@dataclass(frozen=True)
class ConstraintOptions(CommandOptions):
    """The options of ``constraint_options`` say what captions do not say, and how their length counts.

    Attributes:
        length_penalty: The score of a beam is divided by its length to this power, or by the formula of this name;
            None leaves it to the run or the authors.
        rules: The beam search follows the rules of this program; None leaves it to the run or the authors.
        block_trigrams: True makes trigrams costly that a caption has said before.
        block_repeats: True forbids a token right after itself.
        bad_endings: No caption ends with one of these comma-separated words; None allows every ending.
        write_unknown: True lets captions say the token of unknown words.
    """

    length_penalty: str | None
    rules: str | None
    block_trigrams: bool
    block_repeats: bool
    bad_endings: str | None
    write_unknown: bool


@dataclass(frozen=True)
class DecodingOptions(ConstraintOptions):
    """The options of ``decoding_options`` say how captions are searched or drawn.

    Attributes:
        beams: The beam search keeps so many beams; None leaves it to the run or the authors.
        greedy: True takes the likeliest word at every step.
        sample: True draws words from the captioner's distribution.
        temperature: Words are drawn at this temperature; None means the usual one.
        top_k: Words are drawn among so many of the likeliest ones; None allows all words.
        top_p: Words are drawn among the likeliest ones that have this probability together; None allows all words.
        groups: The beams of a diverse beam search stand in so many groups; None means a search without groups.
        diversity: A token loses so much when another group has said it at the same step; None means the usual loss.
        max_length: A caption has at most so many tokens; None leaves it to the run or the authors.
        min_length: A caption has at least so many tokens; None sets no such bound.
    """

    beams: int | None
    greedy: bool
    sample: bool
    temperature: float | None
    top_k: int | None
    top_p: float | None
    groups: int | None
    diversity: float | None
    max_length: int | None
    min_length: int | None


@dataclass(frozen=True)
class RunningOptions(CommandOptions):
    """The options of ``running_options`` say where and how a captioner runs.

    Attributes:
        device: The captioner runs on this device, which torch knows by this name; ``auto`` takes a GPU if there is one.
        precision: The captioner computes with this precision: ``fp32``, ``bf16``, ``fp16`` or ``auto``.
        batch_size: The captioner takes so many images at a time.
        workers: So many processes decode pictures; None takes as many as help.
        download: True allows capreward to fetch named weights that are not on this computer.
    """

    device: str
    precision: str
    batch_size: int
    workers: int | None
    download: bool


def decoding_options(command: F) -> F:
    """Add the options that say how captions are searched or drawn, which are those of ``DecodingOptions``."""
    for option in reversed(
        [
            click.option(
                "--beams",
                type=click.IntRange(1),
                help="Of the beam search.  [default: as the run or its authors, or 5]",
            ),
            click.option("--greedy", is_flag=True, help="The likeliest word at every step."),
            click.option("--sample", is_flag=True, help="Draw words from the captioner's distribution."),
            click.option("--temperature", type=float, help="Of --sample; below 1 nearer to greedy."),
            click.option("--top-k", type=click.IntRange(1), help="Of --sample: among so many of the likeliest words."),
            click.option("--top-p", type=float, help="Of --sample: among the likeliest that make up this probability."),
            click.option("--groups", type=click.IntRange(2), help="Diverse beam search in so many groups."),
            click.option("--diversity", type=float, help="Of --groups: what repeating another group's word costs."),
            click.option(
                "--max-length", type=click.IntRange(2), help="Tokens of a caption at most, the begin token included."
            ),
            click.option("--min-length", type=click.IntRange(0), help="No end before a caption has so many tokens."),
            constraint_options,
        ]
    ):
        command = option(command)
    return command


def constraint_options(command: F) -> F:
    """Add the options that say what captions do not say, and how their length counts; see ``ConstraintOptions``."""
    for option in reversed(
        [
            click.option("--length-penalty", help="Power of the length that a beam's score is divided by; or wu_0.9."),
            click.option(
                "--rules",
                type=click.Choice(RULES),
                help="Whose beam search: DiCO's, transformers' or CLIP-Caption-Reward's.",
            ),
            click.option("--block-trigrams", is_flag=True, help="Make trigrams that a caption has said before costly."),
            click.option("--block-repeats", is_flag=True, help="No token right after itself."),
            click.option("--bad-endings", help="Words after which no caption ends, comma-separated: a,the,of,with."),
            click.option("--write-unknown", is_flag=True, help="Let captions say UNK, of vocabularies that have it."),
        ]
    ):
        command = option(command)
    return command


def constraints_of(options: ConstraintOptions) -> dict[str, Any]:
    """Return the settings of :class:`trainers.decoding.Decoding` that the options stand for.

    Raises:
        InputError: The option of bad endings names no word.
    """
    flags = {"block_trigrams": options.block_trigrams, "block_repeats": options.block_repeats}
    settings: dict[str, Any] = {name: True for name, given in flags.items() if given}
    if options.write_unknown:
        settings["suppress_unknown"] = False
    if options.bad_endings is not None:
        words = tuple(word.strip() for word in options.bad_endings.split(",") if word.strip())
        if not words:
            raise InputError("--bad-endings names no word; write them as in --bad-endings a,the,of,with")
        settings["bad_endings"] = words
    if options.length_penalty is not None:
        settings["length_penalty"] = _number(options.length_penalty)
    if options.rules is not None:
        settings["rules"] = options.rules
    return settings


def _number(text: str) -> float | str:
    """Return the number that a text spells, or the text where it spells none."""
    try:
        return float(text)
    except ValueError:
        return text


def running_options(command: F) -> F:
    """Add the options that say where and how a captioner runs, which are those of ``RunningOptions``."""
    for option in reversed(
        [
            click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1."),
            click.option(
                "--precision",
                default="fp32",
                show_default=True,
                type=click.Choice(["fp32", "bf16", "fp16", "auto"]),
                help="Of the captioner.",
            ),
            click.option(
                "--batch-size", default=BATCH, show_default=True, type=click.IntRange(1), help="Images at a time."
            ),
            click.option("--workers", type=click.IntRange(0), help="Processes that decode pictures; as many as help."),
            click.option("--download", is_flag=True, help="Fetch named weights that are not here."),
        ]
    ):
        command = option(command)
    return command


def decoding_of(
    options: DecodingOptions, source: NamedCaptioner, captioner: Captioner, *, candidates: int | None = None
) -> Decoding:
    """Return the decoding that the options ask for; the rest is as the captioner's run or its authors evaluated.

    Args:
        options: The options of the command.
        source: The captioner comes from here.
        captioner: This captioner will be decoded.
        candidates: So many captions of each image are wanted; None means one.

    Raises:
        InputError: Options do not go together, or a value cannot be.
    """
    from dataclasses import replace

    from trainers.comparison.named_captioners import decoding_for
    from trainers.decoding import Decoding

    method = _method(options)
    usual = decoding_for([source], captioner, beams=options.beams, max_length=options.max_length)
    settings = {
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "groups": options.groups,
        "diversity": options.diversity,
        "min_length": options.min_length,
        "candidates": candidates,
    }
    given = {name: value for name, value in settings.items() if value is not None} | constraints_of(options)
    beams = usual.beams if options.beams else max(usual.beams, candidates or 1)
    if options.groups and not options.beams:
        beams = -(-beams // options.groups) * options.groups
    if method == "diverse" and "rules" not in given and usual.rules == "clip-reward":
        given["rules"] = Decoding.rules  # theirs are of the method beam alone
    return replace(usual, method=method, beams=beams, **given)


def _method(options: DecodingOptions) -> str:
    """Return the name of the way in which captions are searched or drawn.

    Raises:
        InputError: Options belong to different ways.
    """
    if options.greedy and options.sample:
        raise InputError("--greedy and --sample exclude each other; give one of them")
    method = "greedy" if options.greedy else "sample" if options.sample else "beam"
    of_sampling = {"temperature": options.temperature, "top-k": options.top_k, "top-p": options.top_p}
    of_beams = {
        "beams": options.beams,
        "groups": options.groups,
        "length-penalty": options.length_penalty,
        "rules": options.rules,
    }
    _refuse_others(of_sampling, "sampling; add --sample", allowed=method == "sample")
    _refuse_others(of_beams, f"beam search; leave it or --{method} out", allowed=method == "beam")
    if options.diversity is not None and options.groups is None:
        raise InputError("--diversity belongs to diverse beam search; add --groups")
    return "diverse" if options.groups else method


def _refuse_others(values: Mapping[str, float | str | None], owner: str, *, allowed: bool) -> None:
    """Refuse the first option that has a value, unless options of its kind are allowed."""
    stray = next((flag for flag, value in values.items() if value is not None), None)
    if stray is not None and not allowed:
        raise InputError(f"--{stray} belongs to {owner}")
