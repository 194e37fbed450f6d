"""Names of an optimizer's own: statistics beside those of every run, and options beside its methods."""

from __future__ import annotations

import pytest
import torch
from train_helpers import fields, rows, train

from capreward import InputError
from trainers.optimizers.base import OPTIMIZERS, Optimizer, make_optimizer
from trainers.optimizers.registered_classes import check_names
from trainers.optimizers.scst import SelfCritical
from trainers.runs.step import RESERVED

STEPS = ["--reward", "length", "--steps", "1", *fields("optimizer", max_length=12, candidates=2), "--val", "scenes:val"]


class Telling(SelfCritical):
    """SCST that tells one more number."""

    name = "telling"
    tells = "gap"

    def loss(self, policy, reference, candidates, rewards):
        loss, told = super().loss(policy, reference, candidates, rewards)
        return loss, {**told, self.tells: torch.tensor(7.5)}


class Shadowed(Optimizer):
    """An option that is a method as well."""

    name = "shadowed"
    needs_reward = False

    def __init__(self, weight: float = 5.0) -> None:
        self.heaviness = weight


class Lost(Optimizer):
    """An option that is kept under another name."""

    name = "lost"

    def __init__(self, alpha: float = 0.5) -> None:
        self.a = alpha


class Said(Shadowed):
    """It says the option's value itself."""

    name = "said"

    def options(self):
        return {"weight": self.heaviness}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for kind in (Telling, Shadowed, Lost, Said):
        monkeypatch.setitem(OPTIMIZERS, kind.name, (f"test_optimizer_names:{kind.__name__}", "for the test"))


@pytest.mark.parametrize("name", ["kl", "reward", "grad_norm", "reward/length", "images", "repetition"])
def test_statistics_that_the_run_would_replace_are_refused_at_the_first_step(tmp_path, monkeypatch, name):
    monkeypatch.setattr(Telling, "tells", name)
    told = train(tmp_path, "--optimizer", "telling", *STEPS, status=2)
    sentence = f"Error: the optimizer telling tells {name!r}, which every run tells itself; call it telling_{name} or"
    assert sentence in told


def test_statistics_of_the_diagnostics_are_reserved_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Telling, "tells", "judge")
    assert "tells 'judge'" in train(tmp_path, "--optimizer", "telling", *STEPS, status=2)


def test_statistics_of_its_own_are_logged_and_all_other_columns_are_reserved(tmp_path):
    train(tmp_path, "--optimizer", "telling", *STEPS)
    (row,) = rows(tmp_path / "run", "train")
    assert row["gap"] == 7.5
    own = {"gap", "loss", "advantage", "advantage_spread"}
    diagnosed = {"judge", "grammar", "novel", "novel_phrases"}
    found = {name for name in row if not name.startswith(("reward/", "baseline/", "advantage/"))}
    assert found - own - diagnosed <= RESERVED
    assert not own & RESERVED


def test_check_names():
    check_names("the optimizer x", ["loss", "kl_mine", "rewarded"], {"kl", "reward/"})
    with pytest.raises(InputError, match="the optimizer x tells 'reward/a'"):
        check_names("the optimizer x", ["loss", "reward/a"], {"kl", "reward/"})


def test_an_option_that_is_a_method_is_refused():
    with pytest.raises(InputError) as caught:
        make_optimizer("shadowed")
    assert str(caught.value) == (
        "the option weight cannot be recorded, for 'weight' is a method of Shadowed as well; let options() say "
        "its value"
    )
    with pytest.raises(InputError, match="Lost has no attribute 'alpha'"):
        make_optimizer("lost")
    assert make_optimizer("said", {"weight": 3}).options() == {"weight": 3}
