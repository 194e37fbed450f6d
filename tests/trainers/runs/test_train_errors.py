"""What can go wrong in a run: one sentence, the right status, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from pathlib import Path

import pytest
from PIL import Image
from train_helpers import arguments, column, fields, finish, rows, same_weights, start, train

from capreward.commands import main
from trainers.runs.log import append

QUIET = fields("data", val=None)
NAN_AT_STEP_3 = """
import capreward

calls = []

@capreward.reward("nan-late")
def nan_late(captions, **context):
    calls.append(1)
    odd = len(calls) == 4  # the first call is the rehearsal
    return [float("nan") if odd and i == 1 else float(i) for i in range(len(captions))]

@capreward.reward("raises")
def raises(captions, **context):
    calls.append(1)
    if len(calls) > 2:
        raise ValueError("no such word")
    return [0.0] * len(captions)

@capreward.reward("always-raises")
def always_raises(captions, **context):
    return {}["key"]

@capreward.reward("silent")
def silent(captions, **context):
    pass
"""


@pytest.fixture(scope="module")
def xe(tmp_path_factory):
    """A captioner to begin with."""
    folder = tmp_path_factory.mktemp("xe")
    train(folder, "--steps", "2", *QUIET)
    return folder / "run"


def rewarded(tmp_path, xe, name, *extra, at=""):
    """Arguments of a SCST run with a reward of the plugin, registered under a name of its own for each test."""
    path = tmp_path / f"plugin{at}.py"
    own = f"{name}{at}"
    path.write_text(NAN_AT_STEP_3.replace('"nan-late"', f'"nan-late{at}"').replace('"raises"', f'"raises{at}"')
                    .replace('"always-raises"', f'"always-raises{at}"').replace('"silent"', f'"silent{at}"'))  # fmt: skip
    options = fields("optimizer", max_length=10)
    return ["--optimizer", "scst", "--captioner", str(xe), "--reward", own, "--plugin", str(path), *options, *extra]


def only_error(told):
    """The one line that says what went wrong."""
    lines = [line for line in told.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, told
    assert "Traceback" not in told
    return lines[0]


def test_a_reward_that_is_no_number_stops_with_its_batch_kept(tmp_path, xe):
    extra = rewarded(tmp_path, xe, "nan-late", "--batch-size", "2", *QUIET, *fields("checkpoint", every=1), at="1")
    told = only_error(train(tmp_path, *extra, status=1))
    path = tmp_path / "run/nonfinite-step-00000003-0.json"
    assert told == f"Error: a reward at step 3 is not finite; its batch is kept in {path}: mend the reward"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert len(kept) == 2
    assert all(row["key"].startswith("scenes") or row["key"] for row in kept)
    assert [len(row["captions"]) for row in kept] == [6, 6]  # five samples and the greedy caption
    assert kept[0]["rewards"] == ["0.0", "nan", "2.0", "3.0", "4.0", "5.0"]
    assert column(tmp_path / "run", "step") == [1, 2]
    assert (tmp_path / "run/checkpoints/step-00000002/progress.json").exists()


def test_a_loss_that_is_no_number_stops(tmp_path):
    told = only_error(train(tmp_path, "--lr", "1e30", *QUIET, status=1))
    assert re.match(r"Error: a (loss|gradient) at step 2 is not finite; its batch is kept in ", told)
    assert told.endswith("try a lower --lr, or --precision fp32")
    kept = json.loads(next((tmp_path / "run").glob("nonfinite-step-00000002-0.json")).read_text())
    assert len(kept) == 8
    assert kept[0]["rewards"] is None
    assert all(kept[0]["captions"])


def poisoned(tmp_path, xe, value):
    """A run whose captioner has one weight of this value."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(xe, tmp_path / "poisoned")
    path = tmp_path / "poisoned/last/captioner.safetensors"
    tensors = load_file(path)
    tensors["final_norm.weight"][0] = value
    save_file(tensors, path)
    return tmp_path / "poisoned"


def test_weights_that_are_no_numbers_are_refused_at_load(tmp_path, xe):
    told = only_error(train(tmp_path, "--captioner", str(poisoned(tmp_path, xe, float("nan"))), *QUIET, status=2))
    assert "captioner.safetensors: final_norm.weight holds NaN or infinity in 1 of 32 values" in told
    assert not (tmp_path / "run").exists()


def test_poisoned_weights_stop_before_the_first_update(tmp_path, xe):
    """A number so large that the logits are none."""
    told = only_error(train(tmp_path, "--captioner", str(poisoned(tmp_path, xe, 3e38)), *QUIET, status=1))
    assert "a loss at step 1 is not finite" in told
    assert not list((tmp_path / "run/checkpoints").iterdir())


def test_an_error_in_a_plugin_names_its_function(tmp_path, xe):
    told = only_error(train(tmp_path, *rewarded(tmp_path, xe, "raises", *QUIET, at="2"), status=2))
    assert "the reward 'raises2' fails: ValueError: no such word (raises, line 16 of " in told
    assert "plugin2.py" in told


def test_plugins_are_tried_before_the_first_step(tmp_path, xe):
    extra = rewarded(tmp_path, xe, "always-raises", *QUIET, at="3")
    assert "the reward 'always-raises3' fails: KeyError: 'key'" in only_error(train(tmp_path, *extra, status=2))
    assert not (tmp_path / "run").exists()
    told = only_error(train(tmp_path, *rewarded(tmp_path, xe, "silent", *QUIET, at="4"), status=2))
    assert "the reward 'silent4' returned a NoneType; it must return a number per caption" in told


def pictures(folder, n, broken=()):
    """Pictures with captions of their own, some of them no pictures at all; the caption file."""
    folder.mkdir(parents=True)
    lines = []
    for i in range(n):
        path = folder / f"{i}.jpg"
        Image.new("RGB", (48, 48), (9 * i, 99, 200 - 9 * i)).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:200])
        lines.append(json.dumps({"image": path.name, "caption": f"a picture with the number {i}"}))
    table = folder / "captions.jsonl"
    table.write_text("\n".join(lines))
    return ["--data", str(table), "--images", str(folder)]


def test_broken_samples_are_counted_once_and_named(tmp_path):
    data = pictures(tmp_path / "photos", 8, broken=(2, 5))
    extra = [*data, *fields("data", val=None, count=None, broken_limit=2), "--batch-size", "4", "--steps", "6"]
    train(tmp_path, *extra)
    log = (tmp_path / "run/run.log").read_text()
    assert log.count("skipped: ") == 2  # three epochs
    assert log.count("2.jpg") == log.count("5.jpg") == 1
    kept = json.loads((tmp_path / "run/checkpoints/step-00000006/progress.json").read_text())
    assert len(kept["broken"]) == 2


def test_too_many_broken_samples_end_the_run(tmp_path):
    data = pictures(tmp_path / "photos", 8, broken=(2, 5))
    extra = [*data, *fields("data", val=None, count=None, broken_limit=1), "--batch-size", "4"]
    told = only_error(train(tmp_path, *extra, status=2))
    log = tmp_path / "run/run.log"
    assert told == f"Error: 2 samples cannot be read, more than data.broken_limit=1; {log} names them"


def test_held_out_pictures_that_cannot_be_read_are_named_once(tmp_path):
    data = pictures(tmp_path / "photos", 5, broken=(1,))
    held_out = fields("data", val=data[1], val_images=data[3], val_count=None)
    told = train(tmp_path, *held_out, "--eval-every", "1", "--steps", "2")
    assert told.count("not evaluated: ") == 1
    lines = (tmp_path / "run/samples/step-00000002.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize(
    "share",
    [pytest.param(0.5, id="weights"), pytest.param(1.5, id="moments", marks=pytest.mark.slow)],
)
def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, share):
    """The weights do not fit, or the optimizer's moments do not."""
    extra = [*QUIET, *fields("checkpoint", every=2)]
    train(tmp_path, *extra, "--steps", "2")
    run = tmp_path / "run"
    size = (run / "checkpoints/step-00000002/model.safetensors").stat().st_size
    before = {p: p.read_bytes() for p in (run / "checkpoints/step-00000002").iterdir()}

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size * share), resource.RLIM_INFINITY))

    told = only_error(finish(start(tmp_path, *extra, "--steps", "6", preexec_fn=limit), 2))
    assert f"cannot write {run}/checkpoints/step-00000004: " in told
    assert told.endswith("; nothing before it is lost")
    assert {p: p.read_bytes() for p in before} == before
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000002"]
    train(tmp_path, *extra)
    train(tmp_path, *extra, run="whole")
    assert same_weights(run, tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("name", ["metrics.jsonl", "run.log"])
def test_a_full_disk_while_logging_is_a_sentence(tmp_path, name):
    (tmp_path / "run").mkdir()
    if name == "metrics.jsonl":  # the folder's own rewriting of it would replace a link
        with pytest.raises(ValueError, match="cannot write /dev/full: No space left on device"):
            append(Path("/dev/full"), "row")
        return
    (tmp_path / "run" / name).symlink_to("/dev/full")
    told = only_error(train(tmp_path, "--steps", "1", *QUIET, status=2))
    assert told == f"Error: cannot write {tmp_path}/run/{name}: No space left on device"


def test_everything_missing_is_told_together_and_nothing_is_made(tmp_path):
    extra = [
        *("--optimizer", "dico", "--reward", "cider-d(df=gone.npz) + pax"),
        *("--captioner", "no/such/run", "--plugin", "none.py", "--track", "tensorbord"),
        *("--data", "missing.json", "--metrics", "cidre", *fields("data", count=None)),
    ]
    told = train(tmp_path, *extra, status=2)
    first, *lines = told.splitlines()
    assert re.match(r"Error: \d things must be mended before training can start:", first)
    assert all(line.startswith("  - ") for line in lines)
    for part in ("gone.npz", "pax", "none.py", "no/such/run", "tensorbord", "missing.json", "cidre"):
        assert sum(part in line for line in lines) == 1, told
    assert not (tmp_path / "run").exists()


def test_missing_weights_and_frequencies_are_told_together(tmp_path, xe):
    reward = "pacs(checkpoint=none.pth) + cider-d(df=gone.npz) + clips(checkpoint=other.pth)"
    extra = ["--optimizer", "dico", "--captioner", str(xe), "--reward", reward, *fields("optimizer", max_length=9)]
    told = train(tmp_path, *extra, status=2)
    assert "3 things must be mended before training can start:" in told
    for part in ("none.pth", "gone.npz", "other.pth"):
        assert sum(part in line for line in told.splitlines()) == 1, told


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["--optimizer", "rl"], "unknown optimizer 'rl'; known are xe, scst, dico"),
        (["--optimizer", "scst", "--reward", "pax"], "unknown evaluator 'pax'; did you mean pacs"),
        (["--optimizer", "scst"], "the optimizer scst needs a reward; give --reward pacs"),
        (["--optimizer", "scst", "--reward", "length, cider"], "is a list; join its terms by + or -"),
        (["--optimizer", "scst", "--reward", "bleu + nothing"], "unknown evaluator 'nothing'"),
        (["--optimizer", "scst", "--reward", "cider-d(df=gone.npz)"], "gone.npz"),
        (
            ["--reward", "pacs"],
            "the optimizer xe learns from no reward, and would ignore --reward 'pacs'; give --optimizer scst or dico, or "
            "leave --reward out (--set reward.expression=null, if a recipe or file names it)",
        ),
        (["--recipe", "dico-coco", "--optimizer", "xe"], "would ignore --reward 'pacs(prompt=none,clamp=false)'"),
        (["--set", "reward.expression=cider-d"], "would ignore --reward 'cider-d'; give --optimizer scst or dico"),
        (["--monitor", "length"], "would ignore --monitor 'length'"),
        (["--recipe", "scenes-dicko"], "there is no recipe 'scenes-dicko'"),
        (["--track", "tensorbord"], "there is no tracker 'tensorbord'"),
        (["--best", "cidr"], "evaluation.best is 'cidr', which is none of the metrics; did you mean cider?"),
        (["--device", "tpu"], "device is 'tpu'; it must be auto, cpu or cuda"),
        (["--precision", "fp8"], "training.precision='fp8' is none of fp32, bf16, fp16"),
        (["--precision", "fp16", "--device", "cpu"], "fp16 needs a GPU"),
        (["--tower", "stored"], "captioner.tower is stored, but the training items are pictures"),
        (["--config", "none.yaml"], "the configuration none.yaml cannot be read: No such file"),
        (["--set", "lr=1"], "unknown setting lr; did you mean training.lr?"),
        (fields("evaluation", max_length=25), "evaluation.max_length is 25, and the captioner has 24 places"),
        (
            ["--optimizer", "dico", "--reward", "length"],
            "optimizer.max_length is 30, and the captioner has 24 places for tokens; give --set optimizer.max_length=24",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, extra, told):
    from click.testing import CliRunner

    given = arguments(tmp_path, *extra, *(fields("optimizer", max_length=24) if "scst" in extra else []))
    if "--config" in extra:
        given = ["train", *extra]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 2, done.output
    assert told in only_error(done.stderr)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "run").write_text("a file")
    told = only_error(train(tmp_path, "--steps", "1", status=2))
    assert told.startswith(f"Error: cannot make the run's folder {tmp_path}/run: ")
    assert (tmp_path / "run").read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written(tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    assert "cannot make the run's folder" in only_error(train(tmp_path, status=2))


def test_the_terminal_shows_sentences_alone(tmp_path):
    """Without a terminal, a line for every row and evaluation; no warnings of the libraries below."""
    told = finish(start(tmp_path, "--steps", "3", "--workers", "1"))
    lines = told.splitlines()
    number = r"\d+\.\d{4}"
    wanted = [
        r"xe on 24 pictures of scenes:train, 3 steps, in .*/run",
        rf"step 0: cider {number}  unfinished \d+%",
        *[rf"step {i}/3  loss {number}  [\d,]+ tokens/s" for i in (1, 2, 3)],
        rf"step 3: cider {number}  unfinished \d+%",
        rf"all 3 steps done; best cider {number} at step \d; the captioner is in .*/best",
    ]
    assert len(lines) == len(wanted), told
    for line, pattern in zip(lines, wanted, strict=True):
        assert re.fullmatch(pattern, line), line
    assert len(rows(tmp_path / "run")) == 5


def test_quiet_is_quiet(tmp_path):
    assert train(tmp_path, "--quiet", "--steps", "1", *QUIET) == ""
    assert "all 1 steps done" in (tmp_path / "run/run.log").read_text()
