"""Small training runs on the scenes world, for the tests of what looks at runs."""

from __future__ import annotations

from pathlib import Path

import torch
from click.testing import CliRunner

from capreward.commands import main
from capreward.data.images.preprocessing import prepare
from capreward.data.scenes import picture_of

SMALL = {
    "captioner": {
        "tower": "scenes-clip",
        "sizes": {"width": 48, "heads": 3, "inner": 64, "encoder_layers": 1, "decoder_layers": 1, "longest": 48},
    },
    "data": {"train": "scenes:train", "count": 96, "val": "scenes:val", "val_count": 6},
    "training": {"steps": 0, "batch_size": 12, "lr": 1e-2, "warmup": 8, "clip": 1.0},
    "evaluation": {"every": 100, "beams": 2, "max_length": 20},
    "checkpoint": {"every": 100},
    "logging": {"every": 4},
    "device": "cpu",
}


def small_run(folder, optimizer="xe", **changes):
    """A run of no steps: a captioner as it is made, which babbles; ``changes`` are sections of the configuration."""
    from trainers.runs.config_files import build, merged
    from trainers.runs.session import run_training

    options = {} if optimizer == "xe" else {"candidates": 2, "max_length": 16}
    values = merged(merged(SMALL, {"optimizer": {"name": optimizer, **options}}), changes)
    run_training(build(values), Path(folder), [], quiet=True)
    return Path(folder)


def called(*arguments):
    """The result of a command."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(*arguments):
    """The sentence with which a command refuses its input, with status 2 and nothing on standard output."""
    done = called(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def captions_by_hand(captioner, keys, **settings):
    """Captions by the captioner's own parts, one picture at a time."""
    from trainers.decoding import beam_search

    told = []
    for key in keys:
        crop = torch.from_numpy(prepare(picture_of(key), captioner.preprocessing))[None]
        with torch.no_grad():
            memory = captioner.encode(captioner.look(crop))
        told += captioner.decode_text(beam_search(captioner, memory, **settings).tokens[:, 0])
    return told
