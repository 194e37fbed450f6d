"""The report of runs: whole, safe, self-contained, and saying what the numbers say."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from page_reader import TEMPLATE, Reader
from run_helpers import called, refused, small_run

from capreward import InputError, Samples
from capreward.data.scenes import picture_of
from capreward.reports.results import Bootstrap, Results, SystemResult
from capreward.scores import Score, Scores, Signature
from trainers.comparison.named_captioners import NamedCaptioner
from trainers.reports.cards import card_sections
from trainers.reports.conclusions import conclusions, direction, paired_interval
from trainers.reports.report_file import write_report
from trainers.runs.config_files import build
from trainers.runs.folder import RunFolder

HOSTILE = '</title><script>alert(1)</script><img src="https://example.org/x.png" onerror="a()">&amp; \ud800'
KEYS = [f"scenes-test-{n:06d}" for n in range(8)]


def score(name, values, *, value=None, **options):
    known = np.array(values, dtype=np.float64)
    mean = float(known.mean()) if value is None else value
    return Score(name, mean, Signature.of(name, w="2"), per_caption=known, **options)


def system(name, judge, *, captions=None, **metrics):
    columns = [score(n.replace("_", "-"), v, higher_is_better=n != "repetition") for n, v in metrics.items()]
    columns.append(score("judge", judge))
    captions = captions or [f"{name} says {k}" for k in KEYS]
    intervals = {c.name: (c.value - 0.01, c.value + 0.01) for c in columns}
    samples = Samples(captions, references=[["one", "two"]] * len(KEYS), images=[picture_of(k) for k in KEYS], key=KEYS)
    return SystemResult(
        name, Scores(columns, keys=KEYS, captions=captions), intervals, len(KEYS), "8 pictures", samples
    )


@pytest.fixture
def three():
    base = np.linspace(0.2, 0.9, 8)
    grammar = {"scene_grammar": [1] * 8}
    return Results(
        [
            system("xe", base, pacs=base, repetition=[0.1] * 8, **grammar),
            system("dico", base + 0.1, pacs=base + 0.2, repetition=[0.1] * 8, **grammar),
            system("scst", base - 0.1, pacs=base + 0.3, repetition=[0.4] * 8, scene_grammar=[1, 0, 0, 0, 0, 0, 0, 1]),
        ],
        Bootstrap(10),
    )


@pytest.fixture
def sources(tmp_path):
    folder = RunFolder(tmp_path / "runs")
    folder.make()
    rows = [
        {"step": 0, "kind": "eval", "cider": 0.5},
        {"step": 4, "kind": "train", "reward": 0.5, "kl": 0.1, "images": 64.0},
        {"step": 4, "kind": "eval", "cider": 0.7},
    ]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = build({"training": {"steps": 4}, "about": HOSTILE})
    return [
        NamedCaptioner("xe", "scenes"),
        NamedCaptioner("dico", "d", folder, config),
        NamedCaptioner("scst", "s", folder, config),
    ]


def written(tmp_path, sources, results, **options):
    path = tmp_path / "report.html"
    write_report(path, sources, results, **options)
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_loads_nothing(tmp_path, sources, three):
    text = written(tmp_path, sources, three, conclusions=["One sentence."])
    page = Reader(text)
    tags = [tag for tag, _ in page.elements]
    assert not {"script", "link", "iframe", "object"} & set(tags)
    assert tags.count("svg") == 3  # reward, CIDEr, KL
    assert ("meta", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in [
        (tag, attributes.get("content")) for tag, attributes in page.elements if "http-equiv" in attributes
    ]
    for _, attributes in page.elements:
        assert all(not name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    assert not re.search(r"url\(|@import", text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {part for _, a in page.elements for part in a.get("aria-labelledby", "").split()}
    assert named <= set(ids)
    assert {a["href"][1:] for tag, a in page.elements if tag == "a"} <= set(ids)
    assert "One sentence." in text


def test_hostile_texts_stay_texts(tmp_path, sources, three):
    systems = [
        replace(s, name=HOSTILE[:60] + str(n), scores=s.scores, samples=s.samples) for n, s in enumerate(three.systems)
    ]
    for each in systems:
        each.scores.captions[:] = [HOSTILE] * len(KEYS)
        each.samples.references[0] = [HOSTILE]
    hostile = [replace(s, name=system.name) for s, system in zip(sources, systems, strict=True)]
    text = written(
        tmp_path, hostile, Results(systems, None, [HOSTILE]), title=HOSTILE, conclusions=[HOSTILE], commands=[HOSTILE]
    )
    page = Reader(text)
    assert not {"script"} & {tag for tag, _ in page.elements}
    assert all(a["src"].startswith("data:image/") for tag, a in page.elements if tag == "img")
    assert text.count("<script") == 0
    assert "&lt;script&gt;alert(1)" in text


def test_a_text_is_no_template_and_is_escaped_once(tmp_path, sources, three):
    """Wherever it stands: in names, captions, references, warnings, settings, charts and notes."""
    first = replace(three.systems[0], name=TEMPLATE)
    first.scores.captions[:] = [TEMPLATE] * len(KEYS)
    first.samples.references[:] = [[TEMPLATE]] * len(KEYS)
    run = replace(sources[1], name=TEMPLATE, config=build({"training": {"steps": 4}, "about": TEMPLATE}))
    with run.run.metrics.open("a") as file:
        file.write(json.dumps({"step": 1, "kind": "warning", "name": TEMPLATE, "told": TEMPLATE}) + "\n")
    results = Results([first], None, [TEMPLATE])
    text = written(tmp_path, [run], results, title=TEMPLATE, conclusions=[TEMPLATE], commands=[TEMPLATE], count=1)
    page = Reader(text)
    cards = [tag for tag, _ in page.elements].count("article")
    assert cards == 4  # first, disputed, best and worst
    # Title and heading, sentence, head of the table, warning, legend, commands and note; a card's caption and reference.
    assert page.text.count(TEMPLATE) == 8 + 2 * cards
    told = [part for part in page.text if TEMPLATE in part and part != TEMPLATE]
    assert f"Configuration of {TEMPLATE}" in told
    assert f"{TEMPLATE}: 8 pictures" in told
    assert f" {TEMPLATE}" in told  # what the warning tells
    assert sum(part.startswith(f"{TEMPLATE}: from ") for part in told) == 3  # each chart in words
    assert "&amp;lt;" not in text
    assert "<script" not in text


def test_the_best_value_of_a_row_is_bold(tmp_path, sources, three):
    text = written(tmp_path, sources, three)
    table = text[text.index('<table class="headline">') : text.index("</table>")]
    rows = table.split("<tr>")
    told = {re.search(r'<th scope="row">([^<]*)', row)[1]: row for row in rows if 'scope="row"' in row}
    bold = {name: re.findall(r"<b>([^<]*)</b>", row) for name, row in told.items()}
    assert bold["held-out judge"] == ["0.6500"]
    assert bold["PAC-S"] == ["0.8500"]
    assert bold["repetition ↓"] == ["0.1000", "0.1000"]
    assert "0.6400 <span>to 0.6600</span>" in told["held-out judge"]
    assert '<th scope="col" class="run2"><span>scst</span></th>' in rows[1]


def test_each_picture_is_shown_once(three):
    choice, sections = card_sections(three, 2)
    shown = {name: [card.key for card in cards] for name, _, _, cards in sections}
    assert choice.metric.name == "judge"
    assert shown["first"] == KEYS[:2]
    assert shown["best"] == [KEYS[7], KEYS[6]]
    every = [key for keys in shown.values() for key in keys]
    assert len(every) == len(set(every)) == 6
    assert shown["worst"] == []  # the lower half is among the first and the disputed
    assert [card.key for card in card_sections(three, 1)[1][3][3]] == [KEYS[2]]
    assert [line.system for line in sections[0][3][0].lines] == ["xe", "dico", "scst"]


def test_sentences_follow_the_numbers(three):
    dico, scst, between = conclusions(three, "pacs")
    assert dico.startswith("dico: its reward, pacs, rose (0.550 to 0.750), and the held-out judge")
    assert "rose too (0.550 to 0.650); nothing else changed clearly." in dico
    assert "rose (0.550 to 0.850), but the held-out judge, which it never met, fell (0.550 to 0.450)" in scst
    assert "at a price: fewer of its captions are grammatical (100.0% to 25.0%)" in scst
    assert "it repeats itself more (10.0% to 40.0%)" in scst
    assert between == (
        "Side by side, dico leads in the held-out judge, grammatical captions and little repetition; scst leads in pacs."
    )
    turned = conclusions(Results([three.systems[2], three.systems[0]]), "pacs")
    assert turned[0].startswith("xe: its reward, pacs, fell (0.850 to 0.550), but the held-out judge")
    assert "more of its captions are grammatical (25.0% to 100.0%) and it repeats itself less" in turned[0]
    assert "price" not in turned[0]
    same = conclusions(Results([three.systems[0], three.systems[0]]), "pacs")
    assert "its reward, pacs, did not clearly change (0.550 to 0.550), and the held-out judge" in same[0]
    assert "did not clearly change either (0.550 to 0.550); nothing else" in same[0]


def test_a_difference_is_one_where_its_interval_says_so(three):
    xe, dico, scst = three.systems
    assert [direction(xe, dico, n) for n in ("judge", "pacs", "repetition", "scene-grammar")] == [1, 1, 0, 0]
    assert [direction(xe, scst, n) for n in ("judge", "repetition", "scene-grammar")] == [-1, -1, -1]
    rng = np.random.default_rng(0)
    noise = score("a", rng.normal(size=50)), score("a", rng.normal(size=50))
    low, high = paired_interval(*noise)
    assert low < 0 < high
    ratio = [score("facts", [0, 1], value=v) for v in (0.3, 0.6)]  # no mean of its values: intervals decide
    apart = [replace(xe, scores=Scores([r], keys=["a", "b"], captions=["", ""])) for r in ratio]
    near = [replace(s, intervals={"facts": i}) for s, i in zip(apart, [(0.2, 0.5), (0.4, 0.7)], strict=True)]
    far = [replace(s, intervals={"facts": i}) for s, i in zip(apart, [(0.2, 0.5), (0.51, 0.7)], strict=True)]
    assert direction(*near, "facts") == 0
    assert direction(*far, "facts") == 1
    assert direction(*far[::-1], "facts") == -1


def test_pictures_that_cannot_be_opened_have_a_placeholder(tmp_path, sources, three):
    for each in three.systems:
        each.samples.images = None
    assert written(tmp_path, sources, three).count("no picture") == 8


def test_nothing_to_show_is_refused(tmp_path, three):
    with pytest.raises(InputError, match="has no curves and no evaluation"):
        write_report(tmp_path / "x.html", [NamedCaptioner("scenes", "scenes")], None)
    with pytest.raises(InputError, match="must end in .html or .htm"):
        write_report(tmp_path / "x.pdf", [], three)


def test_the_command_reports_a_run_and_takes_what_is_kept(tmp_path):
    run = small_run(tmp_path / "one", training={"steps": 4}, evaluation={"every": 2})
    page = tmp_path / "report.html"
    flags = ("--count", 4, "-m", "cider,length", "--resamples", 20)
    done = called("report", run, "-o", page, *flags)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert f"4 pictures shown in {page}" in done.stderr
    first = page.read_text(encoding="utf-8")
    assert first.count("<img") == 4
    assert "tower: scenes-clip" in first  # the configuration
    assert "capreward train --config" in first
    kept = run / "evaluation.json"
    told = json.loads(kept.read_text(encoding="utf-8"))
    told["captions"][0] = "kept, not made anew"
    kept.write_text(json.dumps(told))
    assert called("report", run, "-o", page, *flags, "-q").stderr == ""
    assert "kept, not made anew" in page.read_text(encoding="utf-8")
    assert called("report", run, "-o", page, "--curves-only").exit_code == 0
    assert "<img" not in page.read_text(encoding="utf-8")
    assert "no captioner" in refused("report", tmp_path / "none", "-o", page)
    assert "there is no folder" in refused("report", run, "-o", tmp_path / "no" / "report.html")
