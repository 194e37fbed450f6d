"""Flags of the decoding, and of where and how a captioner runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capreward.commands.options import F
from capreward.errors import InputError

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.decoding import Decoding

RULES = ("dico", "transformers", "clip-reward")
BATCH = 64  # images decoded at a time
OF_SAMPLING = ("temperature", "top_k", "top_p")
OF_BEAMS = ("beams", "groups", "length_penalty", "rules")


def decoding_options(command: F) -> F:
    """Add the options that say how captions are searched or drawn."""
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
    """Add the options that say what captions do not say, and how their length counts."""
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


def constraints_of(options: dict[str, Any]) -> dict[str, Any]:
    """The settings of :class:`trainers.decoding.Decoding` that the flags of ``constraint_options`` stand for.

    Raises:
        InputError: bad endings without a word.
    """
    found: dict[str, Any] = {name: True for name in ("block_trigrams", "block_repeats") if options[name]}
    if options["write_unknown"]:
        found["suppress_unknown"] = False
    if options["bad_endings"] is not None:
        words = tuple(word.strip() for word in options["bad_endings"].split(",") if word.strip())
        if not words:
            raise InputError("--bad-endings names no word; write them as in --bad-endings a,the,of,with")
        found["bad_endings"] = words
    if options["length_penalty"] is not None:
        found["length_penalty"] = _number(options["length_penalty"])
    if options["rules"] is not None:
        found["rules"] = options["rules"]
    return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def running_options(command: F) -> F:
    """Add the options that say where and how a captioner runs."""
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


def decoding_of(options: dict[str, Any], source: NamedCaptioner, captioner: Captioner) -> Decoding:
    """The decoding that the flags ask for, the rest as the captioner's run or its authors evaluated.

    Args:
        options: of the command: those of ``decoding_options``, and ``candidates``.
        source: where the captioner comes from.
        captioner: that will be decoded.

    Raises:
        InputError: flags that do not go together, or values that cannot be.
    """
    from dataclasses import replace

    from trainers.comparison.named_captioners import decoding_for
    from trainers.decoding import Decoding

    method = _method(options)
    usual = decoding_for([source], captioner, beams=options["beams"], max_length=options["max_length"])
    names = ("temperature", "top_k", "top_p", "groups", "diversity", "min_length", "candidates")
    given = {name: options[name] for name in names if options[name] is not None} | constraints_of(options)
    beams = usual.beams if options["beams"] else max(usual.beams, options["candidates"] or 1)
    if method == "diverse" and not options["beams"]:
        beams = -(-beams // options["groups"]) * options["groups"]
    if method == "diverse" and "rules" not in given and usual.rules == "clip-reward":
        given["rules"] = Decoding.rules  # theirs are of the method beam alone
    return replace(usual, method=method, beams=beams, **given)


def _method(options: dict[str, Any]) -> str:
    if options["greedy"] and options["sample"]:
        raise InputError("--greedy and --sample exclude each other; give one of them")
    method = "greedy" if options["greedy"] else "sample" if options["sample"] else "beam"
    stray = [n for n in OF_SAMPLING if options[n] is not None and method != "sample"]
    stray += [n for n in OF_BEAMS if options[n] is not None and method != "beam"]
    if stray:
        flag = f"--{stray[0].replace('_', '-')}"
        what = "sampling; add --sample" if stray[0] in OF_SAMPLING else f"beam search; leave it or --{method} out"
        raise InputError(f"{flag} belongs to {what}")
    if options["diversity"] is not None and options["groups"] is None:
        raise InputError("--diversity belongs to diverse beam search; add --groups")
    return "diverse" if options["groups"] else method
