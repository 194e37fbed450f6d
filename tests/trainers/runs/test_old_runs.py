"""Runs, captioners and files that version 0.1.0 wrote still load and go on (tests/fixtures/runs_0_1_0)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickletools
import re
import shutil
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from places import FIXTURES
from rounding import check_close
from run_helpers import called
from train_helpers import column, rows

OLD = FIXTURES / "runs_0_1_0"
TOLD = json.loads((OLD / "told.json").read_text(encoding="utf-8"))
AGAIN = {  # how each run was started, but for its steps
    "scst": [
        *("train", "--optimizer", "scst", "--reward", "cider-d + 0.5*length", "--captioner", "xe-small/last"),
        *("--config", "rl.yaml", "--set", "optimizer.max_length=20", "--run", "scst"),
    ],
    "dico": [
        *("train", "--optimizer", "dico", "--reward", "pacs", "--captioner", "xe-words/last", "--config", "rl.yaml"),
        *("--set", "optimizer.max_length=20", "--candidates", "3", "--val-count", "8", "--eval-every", "2"),
        *("--run", "dico"),
    ],
    "tune": ["tune", "--config", "tune.yaml", "--run", "tune"],
}
LEARNT = {"scst": "captioner.safetensors", "dico": "captioner.safetensors", "tune": "open_clip_model.safetensors"}


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy that may be written to, as the working folder: the runs name each other by relative paths."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def done(*arguments):
    """The result of a command that succeeds."""
    result = called(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def scores(*arguments):
    """Metric to value, as JSON tells it."""
    told = json.loads(done(*arguments, "--json", "--resamples", 0, "-q").stdout)["systems"][0]["scores"]
    return {name: score["value"] for name, score in told.items()}


def check_scores(mine, theirs):
    """Whether all metrics are there, with the values of 0.1.0 but for rounding in float32."""
    assert list(mine) == list(theirs)
    check_close(list(mine.values()), list(theirs.values()))


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("run", AGAIN)
def test_a_run_goes_on(old, run):
    before, weights = rows(run), digest(old / run / "last" / LEARNT[run])
    told = done(*AGAIN[run], "--steps", "6").stderr
    assert "going on from step 4 of 6" in told
    after = rows(run)
    assert after[: len(before)] == before
    assert [row["step"] for row in after[len(before) :] if row["kind"] == "train"] == [5, 6]
    assert after[-1]["step"] == 6
    assert "eval" in {row["kind"] for row in after if row["step"] == 6}
    assert all(math.isfinite(loss) for loss in column(run, "loss"))
    assert all(0 < norm < 1e3 for norm in column(run, "grad_norm")[4:])
    progress = json.loads((old / run / "checkpoints/step-00000006/progress.json").read_text())
    assert progress["step"] == 6
    assert digest(old / run / "last" / LEARNT[run]) != weights


@pytest.mark.parametrize("run", AGAIN)
def test_a_run_that_is_over_is_known_as_such(old, run):
    before = digest(old / run / "last" / LEARNT[run])
    assert "this run is over: all 4 steps done" in done(*AGAIN[run], "--steps", "4").stderr
    assert digest(old / run / "last" / LEARNT[run]) == before


@pytest.mark.parametrize("run", AGAIN)
def test_the_optimizers_moments_go_on(old, run):
    def state(step):
        path = old / run / f"checkpoints/step-{step:08d}/optimizer.bin"
        return torch.load(path, weights_only=True)["state"]

    kept = state(4)
    assert {int(moments["step"]) for moments in kept.values()} == {4}
    assert any(float(moments["exp_avg_sq"].sum()) > 0 for moments in kept.values())
    done(*AGAIN[run], "--steps", "6")
    assert {int(moments["step"]) for moments in state(6).values()} == {6}
    first, last = (sum(float(m["exp_avg_sq"].sum()) for m in moments.values()) for moments in (kept, state(6)))
    assert (
        last > 0.9 * first
    )  # the second moment forgets 1 in 1,000 at a step: begun anew it would hold two steps alone


def test_changed_settings_of_an_old_run_are_refused(old):
    refused = called(*AGAIN["dico"], "--steps", "6", "--lr", "0.1")
    assert refused.exit_code == 2
    assert "holds a run with training.lr 0.0005, and now it is 0.1" in refused.stderr


@pytest.mark.parametrize("run", ["dico", "xe-words", "xe"])
def test_captioners_say_what_they_said(old, run):
    lines = done("caption", "scenes:test", "--count", 8, "-c", f"{run}/last", "--greedy").stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == TOLD["captions"][run]


@pytest.mark.parametrize("run", ["dico", "scst", "xe-words", "xe"])
def test_evaluations_give_what_they_gave(old, run):
    check_scores(scores("evaluate", run, "--last", "--count", 8), TOLD["evaluated"][run])


def test_an_evaluation_equals_the_runs_own_row(old):
    found = scores("evaluate", "dico", "--last", "--data", "scenes:val", "--count", 8, "-m", "cider,pacs")
    check_scores(found, TOLD["evaluated_val"])
    own = rows("dico", "eval")[-1]
    assert own["step"] == 4
    check_scores(found, {name: own[name] for name in found})


def test_a_report_shows_the_kept_evaluation(old):
    def kept():
        told = json.loads((old / "dico/evaluation.json").read_text(encoding="utf-8"))["scores"]
        return {name: score["value"] for name, score in told.items()}

    before = kept()
    done("report", "dico", "scst", "--count", 8, "--resamples", 0, "-o", "report.html")
    page = (old / "report.html").read_text(encoding="utf-8")
    for name in ("pacs", "cider", "judge"):
        assert f"{before[name]:.4f}" in page, name
    assert f"{TOLD['evaluated']['scst']['pacs']:.4f}" in page
    check_scores(kept(), before)


def flat(values, prefix=""):
    """Settings by their dotted names."""
    found = {}
    for name, value in values.items():
        whole = isinstance(value, dict) and value
        found |= flat(value, f"{prefix}{name}.") if whole else {f"{prefix}{name}": value}
    return found


def check_configuration(run, told):
    """Whether a printed configuration has all settings of an old run."""
    printed, kept = flat(yaml.safe_load(told)), flat(yaml.safe_load(Path(run, "config.yaml").read_text()))
    assert len(kept) > 40
    assert {name: printed[name] for name in kept} == kept


@pytest.mark.parametrize("run", ["xe", "xe-words", "xe-small", "scst", "dico"])
def test_configurations_load(old, run):
    check_configuration(run, done("train", "--config", f"{run}/config.yaml", "--run", "new", "--dry-run").stdout)


def test_a_configuration_trains_a_run_of_its_own(old):
    done("train", "--config", "xe-small/config.yaml", "--run", "new", "--steps", 2)
    assert [row["step"] for row in rows("new", "train")] == [1, 2]
    first = {run: rows(run, "train")[0]["loss"] for run in ("new", "xe-small")}
    assert all(math.isfinite(loss) for loss in first.values())
    if torch.__version__.startswith("2.14"):  # what dropout draws is another thing in another version of torch
        check_close(first["new"], first["xe-small"])  # the same weights were drawn, the same pictures, the same words


def test_the_configuration_of_a_tuning_loads(old):
    check_configuration("tune", done("tune", "--config", "tune/config.yaml", "--run", "new", "--dry-run").stdout)


def test_a_tuned_clip_judges(old):
    (old / "captions.json").write_text(json.dumps({"scenes-test-000000": "a red ball", "scenes-test-000001": "a cup"}))
    found = scores("score", "captions.json", "-i", "pictures", "-m", "clips(checkpoint=tune/last)")
    assert all(0 <= value <= 2.5 for value in found.values())


@pytest.fixture
def captions(old):
    """The file of the captions that told.json has scores of."""
    named = {f"scenes-test-{i:06d}": caption for i, caption in enumerate(TOLD["captions"]["dico"][:4])}
    (old / "captions.json").write_text(json.dumps(named))
    return old / "captions.json"


def test_a_feature_store_gives_the_same_scores(old, captions):
    [from_pictures] = scores("score", captions, "-i", "pictures", "-m", "pacs(checkpoint=scenes-pacs)").values()
    found = scores("score", captions, "-i", "test.features", "-m", "pacs")["pacs"]
    check_close(found, TOLD["features"]["pacs of test.features"])
    check_close(found, from_pictures)


def test_stores_are_gone_on_with(old):
    before = digest(old / "test.features/part-00000.safetensors")
    told = done("embed", "scenes:test", "--count", 5, "--for", "pacs", "-o", "test.features").stderr
    assert "1 picture embedded into test.features, 4 there already" in told
    assert digest(old / "test.features/part-00000.safetensors") == before
    texts = ("embed", "--text", "--captions", "pictures/captions.json", "--for", "clips", "-o", "texts.features")
    assert "0 texts embedded into texts.features, 20 there already" in done(*texts).stderr


def test_a_captioner_looks_at_stored_tokens(old):
    told = done("caption", "test.tokens", "-c", "xe-words/last", "--greedy").stdout
    assert told == f"scenes-test-000000\t{TOLD['captions']['xe-words'][0]}\n"


def test_document_frequencies_give_the_same_scores(old, captions):
    found = scores("score", captions, "-r", "pictures/captions.json", "-m", "cider-d(df=df.npz)")
    check_close(list(found.values()), [TOLD["features"]["cider-d with df.npz"]], torch.float64)
    assert "4 images, 81 1-grams" in done("df", "show", "df.npz").output


def test_packed_shards_are_whole_and_read(old):
    told = json.loads(done("pack", "scenes:train", "-o", "shards", "--count", 2, "--name", "scenes", "--json").stdout)
    assert (told["written"], told["kept"]) == (0, 1)
    assert "2 samples" in done("pack", "--verify", "shards/scenes-000.tar").stderr
    from trainers.data import open_dataset

    data = open_dataset("shards/datasets.json:scenes")
    found = [[data[index].key, list(data[index].captions)] for index in range(len(data))]
    assert found == TOLD["features"]["shards"]


OURS = re.compile(r"\b(?:capreward|trainers)(?:\.[a-z_]\w*)+(?::\w+)?\b")
TEXTS = (".json", ".jsonl", ".yaml", ".log")


def named_in_pickle(data):
    """The classes and functions that a pickle calls by name."""
    strings, found = [], set()
    for operation, argument, _ in pickletools.genops(data):
        if operation.name == "GLOBAL":
            found.add(str(argument).replace(" ", ":"))
        elif operation.name == "STACK_GLOBAL":
            found.add(":".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return found


def named_in(path):
    """The Python objects that a file names."""
    if path.suffix in TEXTS:
        return set(OURS.findall(path.read_text(encoding="utf-8")))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
        return set().union(*map(named_in_pickle, inside)) if inside else set()
    return named_in_pickle(path.read_bytes()) if path.suffix == ".pkl" else set()


def resolve(name):
    """Import what ``module:attribute`` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute) if attribute else import_module(module)


def test_no_file_names_a_python_object_that_is_gone(old):
    done(*AGAIN["dico"], "--steps", "6")  # files of today beside those of 0.1.0
    named = {name for path in sorted(old.rglob("*")) if path.is_file() for name in named_in(path)}
    assert "collections:OrderedDict" in named  # of the optimizers' states, so the search finds what there is
    assert not [name for name in named if name.startswith(("capreward", "trainers"))]
    for name in sorted(named):
        module = name.partition(":")[0].partition(".")[0]
        assert module in ("_codecs", "collections", "numpy", "torch"), name
        assert name == "torch:FloatStorage" or resolve(name) is not None


def test_the_fixtures_are_small():
    sizes = {path: os.path.getsize(path) for path in OLD.rglob("*") if path.is_file()}
    assert len(sizes) > 50
    assert sum(sizes.values()) < 1_000_000
