"""Training on shards that are streamed, whose number of samples nobody knows."""

from __future__ import annotations

from click.testing import CliRunner
from train_helpers import column, train

from capreward.commands import main


def test_a_stream_is_trained_on_by_steps_and_refused_by_epochs(tmp_path):
    done = CliRunner().invoke(main, ["pack", "scenes:train", "-o", str(tmp_path), "--count", "8", "--name", "s", "-q"])
    assert done.exit_code == 0, done.output
    stream = ["--data", f"pipe:cat {tmp_path}/s-000.tar", "--set", "data.count=null", "--set", "data.val=null"]
    told = train(tmp_path, *stream, "--steps", "2", "--batch-size", "4")
    assert "a stream of pictures" in told
    assert len(column(tmp_path / "run", "loss")) == 2
    epochs = ["--set", "training.steps=null", "--set", "training.epochs=1"]
    assert "steps" in train(tmp_path, *stream, *epochs, status=2, run="epochs")
