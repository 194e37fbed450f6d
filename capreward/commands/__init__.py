"""The command line: one file per command, imported when it is called."""

from __future__ import annotations

import sys
from typing import Any

import click

from capreward._version import __version__
from capreward.command_classes import Group, import_own
from capreward.errors import InputError, ProgramError

COMMANDS = {
    "score": ("capreward.commands.score:score", "Score caption files against references and images."),
    "look": ("capreward.commands.look:look", "Show how a file is understood, and what it can be used for."),
    "finecapeval": (
        "capreward.commands.finecapeval:finecapeval",
        "Score captions on FineCapEval: overall and aspect recall.",
    ),
    "retrieve": (
        "capreward.commands.retrieve:retrieve",
        "Find images by their captions, and captions by their images.",
    ),
    "train": ("trainers.commands.train:train", "Train a captioner with xe, scst or dico against any reward."),
    "tune": ("trainers.commands.tune:tune", "Tune a CLIP evaluator: grammar, or positive-augmented pairs."),
    "caption": ("trainers.commands.caption:caption", "Caption images."),
    "evaluate": ("trainers.commands.evaluate:evaluate", "Evaluate training runs on held-out images."),
    "report": ("trainers.commands.report:report", "Write an HTML report of training runs."),
    "demo": ("trainers.commands.demo:demo", "Train and compare captioners on the scenes world, in minutes."),
    "embed": ("capreward.commands.embed:embed", "Write features of images or captions into a store."),
    "weights": ("capreward.commands.weights:weights", "Show which weights each evaluator needs and finds."),
    "convert": ("trainers.commands.convert:convert", "Turn a CLIP checkpoint or a released captioner into a folder."),
    "pack": ("trainers.commands.pack:pack", "Write training shards from captions and images."),
    "scenes": ("capreward.commands.scenes:scenes", "Write pictures and captions of the embedded scenes world."),
    "ls": ("capreward.commands.ls:ls", "List evaluators, optimizers, recipes, tokenizers and file formats."),
    "info": ("capreward.commands.info:info", "Show versions, Java, GPU and the weights found."),
    "vocabulary": ("capreward.commands.vocabulary:vocabulary", "Build word vocabularies, and captions as word ids."),
    "df": ("capreward.commands.df:df", "Build document-frequency files for CIDEr rewards."),
}


class LazyGroup(Group):
    """A group that knows its commands by name and help line, and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command, or None where there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_own(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, and suggest a near name for an unknown one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"commands are {', '.join(COMMANDS)}"
            raise InputError(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the stored help lines instead of importing every command for its own."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn bad input into one sentence and exit status 2."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)
        except ProgramError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has gone; a message about it helps nobody
            sys.exit(1)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="capreward %(version)s")
def main() -> None:
    """Judge image captions with exact metrics that are also rewards, and train captioners against them.

    \b
    capreward score captions.json --references refs.json
    capreward score a.json b.json -r refs.json --images photos/ -m bleu,cider,clips,refclips --json
    capreward train --optimizer dico --reward pacs
    capreward caption photos/ --captioner runs/dico-pacs -o captions.json
    capreward df build refs.json -o coco.npz
    """
