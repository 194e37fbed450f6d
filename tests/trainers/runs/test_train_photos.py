"""Real photos without a pretrained tower: a small one learns along, and DiCO then runs on it."""

from __future__ import annotations

import pytest
from train_helpers import column, train

SIZES = "{width: 64, heads: 4, inner: 128, encoder_layers: 1, decoder_layers: 1, longest: 30, dropout: 0.0}"


@pytest.mark.slow
def test_photos_are_learnt_from_scratch_and_dico_goes_on(tmp_path, shared_data):
    data = shared_data / "flickr8k"
    photos = ["--data", f"{data}/Flickr8k.token.txt", "--images", f"{data}/photos_112/dev.tar", "--allow-missing"]
    more = ["--count", "200", "--batch-size", "16", "--set", "data.val=null", "--set", "logging.every=10"]
    new = ["--tower", "patch", "--set", "captioner.vocabulary=learn", "--set", "captioner.merges=400"]
    extra = ["--steps", "60", "--lr", "2e-3", "--set", f"captioner.sizes={SIZES}"]
    train(tmp_path, *photos, *more, *new, *extra, run="xe")
    losses = column(tmp_path / "xe", "loss")
    assert losses[-1] < losses[0] - 1.5
    dico = ["--optimizer", "dico", "--captioner", str(tmp_path / "xe"), "--reward", "cider-d", "--steps", "10"]
    train(tmp_path, *photos, *more, *dico, "--set", "optimizer.tau=3", "--set", "optimizer.spread=image", run="dico")
    assert len(column(tmp_path / "dico", "kl")) == 1
    assert column(tmp_path / "dico", "reward")[-1] > 0
