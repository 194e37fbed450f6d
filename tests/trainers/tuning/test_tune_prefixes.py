"""The grammar objective's loss over prefixes: labels by hand, states by separate passes over cut texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rounding import check_close
from torch import nn
from train_helpers import column, fields
from tune_helpers import farthest, tune

from capreward.encoders.loading import load_clip
from capreward.encoders.model.text_tokens import tokenize
from capreward.encoders.model.text_tower import prefix_states, text_states
from capreward.errors import InputError
from trainers.tuning.grammar_objective import HEAD, CorruptedCaption, Grammar
from trainers.tuning.trained_towers import Towers

PROMPT = "A photo depicts "
TEXTS = [
    "a red boat",
    "two small dogs on the beach .",
    CorruptedCaption.of("swap", "a kite boat"),
    CorruptedCaption.of("remove", "two on the beach ."),
]


@pytest.fixture(scope="module")
def towers():
    torch.manual_seed(0)
    clip = load_clip("scenes-clip")
    return Towers(clip, Grammar(prefixes=1.0).prepare(clip.model), PROMPT)


def test_a_prefix_is_right_as_long_as_it_is_the_captions():
    rows = [np.array(ids) for ids in ([5, 6, 7], [1, 2, 3, 4], [5, 9, 7], [1, 2, 2, 3, 4])]
    labels = Grammar(prefixes=1.0).prefix_labels(rows)
    assert [row.tolist() for row in labels] == [[1, 1, 1], [1, 1, 1, 1], [1, 0, 0], [1, 1, 0, 0, 0]]
    cut = Grammar(prefixes=1.0).prefix_labels([np.array([1, 2, 3, 4]), np.array([1, 2])])
    assert [row.tolist() for row in cut] == [[1, 1, 1, 1], [1, 1]]


def test_states_of_prefixes_are_those_of_texts_that_end_there(towers):
    tokens = tokenize(towers.tokenizer, [PROMPT + TEXTS[1]], towers.context).rows[0]
    found = prefix_states(towers.model, torch.from_numpy(tokens)[None])[0]
    check_close(found[-1], text_states(towers.model, torch.from_numpy(tokens)[None])[0])
    for place in range(len(tokens)):
        alone = prefix_states(towers.model, torch.from_numpy(tokens[: place + 1])[None])[0, -1]
        assert (alone - found[place]).abs().max() < 2e-5, place


def test_the_loss_is_the_mean_over_the_tokens_between_prompt_and_end(towers):
    objective = Grammar(plain=False, prefixes=0.5)
    read = towers.text(TEXTS, objective.prefix_labels)
    found = objective.prefix_loss(read.prefixes, read.labels, towers.extra)
    rows = tokenize(towers.tokenizer, [PROMPT + text for text in TEXTS], towers.context).rows
    lead = len(tokenize(towers.tokenizer, [PROMPT], towers.context).rows[0]) - 1
    terms = []
    for number, row in enumerate(rows):
        caption, right = rows[number % 2], True
        for place in range(lead, len(row) - 1):
            right = right and place < len(caption) - 1 and row[place] == caption[place]
            state = prefix_states(towers.model, torch.from_numpy(row[: place + 1])[None])[0, -1]
            logits = towers.extra[HEAD](state).log_softmax(-1)
            terms.append(-float(logits[int(right)].detach()))
    assert len(terms) == len(read.labels) > 15
    assert float(found.detach()) == pytest.approx(np.mean(terms), abs=2e-5)
    plain = towers.text(TEXTS)
    assert (plain.states - read.states).abs().max() < 1e-5
    assert plain.prefixes is None


def test_captions_as_they_are_keep_their_marks():
    assert Grammar()._words("A dog, running.") == ["a", "dog", "running"]
    assert Grammar(plain=False)._words("A dog, running.") == ["A", "dog,", "running."]


def test_the_weight_of_prefixes_changes_what_is_learned(tmp_path):
    for weight in (0.0, 1.0):
        tune(tmp_path, *fields("objective", prefixes=weight), "--steps", "12", "--lr", "3e-3", run=f"{weight:g}")
    losses = {name: column(tmp_path / "1", name) for name in ("loss", "clip_loss", "grammar_loss", "prefix_loss")}
    parts = zip(losses["clip_loss"], losses["grammar_loss"], losses["prefix_loss"], strict=True)
    assert losses["loss"] == pytest.approx([sum(each) for each in parts], abs=1e-5)
    assert losses["prefix_loss"][-1] < losses["prefix_loss"][0] - 0.02
    assert farthest(tmp_path / "0", tmp_path / "1") > 1e-4


def test_what_cannot_learn_from_prefixes_is_refused():
    with pytest.raises(InputError, match="joint_out has no head that could learn from prefixes"):
        Grammar(prefixes=1.0, joint_out=True)
    with pytest.raises(InputError, match="prefixes must be a number, at least 0"):
        Grammar(prefixes=-1.0)
    with pytest.raises(InputError, match=r"objective\.prefixes wants a text tower with causal attention"):
        Grammar(prefixes=1.0).prepare(nn.Linear(2, 2))  # no CLIP of open_clip's own class
