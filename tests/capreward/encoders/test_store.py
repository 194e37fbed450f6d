"""The feature store: what goes in comes out, whatever is appended, and nothing foreign or damaged is read."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from capreward import InputError
from capreward.encoders.store.feature_store import FeatureStore, StoredFeature, is_store
from capreward.encoders.store.header import StoreHeader
from capreward.encoders.store.writer import StoreWriter, in_shard

FIELDS = {"model": "ViT-B-32:openai", "sha": "40d365715913", "act": "quickgelu", "prep": "224-openai", "prec": "fp32"}
SHA = "40d365715913" + 52 * "0"


def header(**changes):
    return StoreHeader(**{"kind": "image", "encoder": FIELDS, "shape": (4,), "sha256": SHA, **changes})


def numbers(count, start=0, shape=(4,)):
    """Features that no two rows share and float16 holds exactly."""
    size = int(np.prod(shape))
    return torch.arange(start * size, (start + count) * size, dtype=torch.float32).reshape(count, *shape)


@pytest.fixture
def store(tmp_path):
    writer = StoreWriter(tmp_path / "s", header())
    writer.write(["a", "b", "c"], numbers(3))
    writer.write(["d", "e"], numbers(2, start=3))
    return tmp_path / "s"


def test_what_goes_in_comes_out(store):
    found = FeatureStore(store)
    assert (found.kind, found.keys, found.dim, found.shape, len(found)) == ("image", list("abcde"), 4, (4,), 5)
    assert found.fields == FIELDS
    assert found.texts is None
    assert found.row_of("d") == 3
    assert "e" in found
    assert "f" not in found
    features = found.features([4, 0, 4, 2])
    assert features.dtype == torch.float32
    assert features.tolist() == [[16, 17, 18, 19], [0, 1, 2, 3], [16, 17, 18, 19], [8, 9, 10, 11]]
    assert found.features([]).shape == (0, 4)
    assert found.stored("b").feature().tolist() == [4, 5, 6, 7]
    assert str(found.stored("b")) == f"b in {store}"
    with pytest.raises(IndexError, match=r"rows -1\.\.0 of a store of 5"):
        found.features([0, -1])
    with pytest.raises(IndexError, match=r"rows 5\.\.5"):
        found.features([5])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused_when_they_are_read(tmp_path, value):
    """The writer refuses them; a part of another program, or a damaged one, may hold them all the same."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    writer = StoreWriter(tmp_path / "s", header())
    writer.write(list("abcd"), numbers(4))
    part = next((tmp_path / "s").glob("*.safetensors"))
    with safe_open(part, "np") as file:
        metadata = file.metadata()
    tensors = load_file(part)
    name = next(n for n, t in tensors.items() if t.shape == (4, 4))
    tensors[name] = tensors[name].copy()
    tensors[name][2, 1] = tensors[name][3, 0] = value
    save_file(tensors, part, metadata=metadata)
    found = FeatureStore(tmp_path / "s")
    assert found.features([1, 0]).tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]]
    with pytest.raises(InputError, match=r"s holds NaN or infinity in the features of 'd', 'c'; .* embed the pictures"):
        found.features([0, 3, 2])
    with pytest.raises(InputError, match="in the features of 'c'"):
        found.stored("c").feature()


def test_large_features_are_numbers(tmp_path):
    """Their sum is infinite, they are not."""
    writer = StoreWriter(tmp_path / "s", header())
    writer.write(["a"], torch.full((1, 4), 3e38))
    assert FeatureStore(tmp_path / "s").features([0]).tolist() == torch.full((1, 4), 3e38).tolist()


def test_a_part_is_a_safetensors_file_like_any_other(store):
    assert np.array_equal(load_file(store / "part-00001.safetensors")["features"], numbers(2, start=3).numpy())
    assert sorted(p.name for p in store.iterdir()) == ["part-00000.safetensors", "part-00001.safetensors", "store.json"]
    assert json.loads((store / "store.json").read_text()) == {
        "format": 1,
        "kind": "image",
        "encoder": FIELDS,
        "sha256": SHA,
        "prompt": "",
        "shape": [4],
        "dtype": "float32",
    }


def test_features_of_any_shape(tmp_path):
    grid = numbers(3, shape=(2, 2, 5))
    StoreWriter(tmp_path, header(shape=(2, 2, 5))).write(["a", "b", "c"], grid)
    found = FeatureStore(tmp_path)
    assert found.dim == 5
    assert torch.equal(found.features([2, 0]), grid[[2, 0]])
    assert found.check(FIELDS, shape=(2, 2, 5)) is None
    with pytest.raises(InputError, match=r"holds features of shape \(2, 2, 5\), not one vector each"):
        found.check(FIELDS)
    with pytest.raises(InputError, match=r"holds features of shape \(2, 2, 5\), not \(4, 5\)"):
        found.check(FIELDS, shape=(4, 5))


def test_half_the_space(tmp_path):
    values = torch.tensor([[1 / 3, 2.0, -5.5, 1e-3]])
    StoreWriter(tmp_path, header(dtype="float16")).write(["a"], values)
    found = FeatureStore(tmp_path)
    assert found.dtype == "float16"
    assert torch.equal(found.features([0]), values.half().float())
    assert not torch.equal(found.features([0]), values)
    with pytest.raises(InputError, match="feature of 'b' is not finite in float16"):
        StoreWriter(tmp_path, header(dtype="float16")).write(["x", "b"], torch.tensor([[1.0] * 4, [70000.0] * 4]))


def test_rows_keep_their_meaning_in_a_pickle_while_others_append(tmp_path):
    StoreWriter(tmp_path, header(), shard=(1, 2)).write(["a", "b"], numbers(2))
    before = FeatureStore(tmp_path)
    feature = before.stored("b")
    packed = pickle.dumps([feature, before.stored("a")])
    StoreWriter(tmp_path, header(), shard=(0, 2)).write(["c"], numbers(1, start=7))  # sorts before the part above
    again = pickle.loads(packed)
    assert len(packed) < 600
    assert again == [feature, before.stored("a")]
    assert hash(again[0]) == hash(feature)
    assert again[0].key != again[1].key
    assert again[0].feature().tolist() == [4, 5, 6, 7]
    now = FeatureStore(tmp_path)
    assert now.keys == ["c", "a", "b"]
    assert now.features([0, 2]).tolist() == [[28, 29, 30, 31], [4, 5, 6, 7]]
    assert now != before


def test_stored_features_are_equal_by_row(store):
    one, two = FeatureStore(store), FeatureStore(store)
    assert {StoredFeature(one, 1), StoredFeature(two, 1), StoredFeature(two, 2)} == {one.stored("b"), two.stored("c")}


def test_is_store(store, tmp_path):
    assert is_store(store)
    assert is_store(str(store))
    assert not is_store(tmp_path)
    assert not is_store(None)


def test_a_key_twice(store):
    writer = StoreWriter(store, header())
    writer.write(["c"], numbers(1, start=2) * 1.04)  # another batch size, another rounding
    found = FeatureStore(store)
    assert len(found) == 5
    assert found.stored("c").feature().tolist() == [8, 9, 10, 11]
    writer.write(["a"], numbers(1) * 1.06)
    with pytest.raises(
        InputError, match=r"part-00000.safetensors and part-00003.safetensors .* features of 'a'; delete"
    ):
        FeatureStore(store)


def test_an_empty_store_can_be_read(tmp_path):
    StoreWriter(tmp_path / "s", header())
    found = FeatureStore(tmp_path / "s")
    assert len(found) == 0
    assert found.features([]).shape == (0, 4)
    with pytest.raises(InputError, match="has no feature of 'a' among its 0"):
        found.row_of("a")


def test_an_unknown_key_gets_a_suggestion(tmp_path):
    StoreWriter(tmp_path, header()).write(["COCO_val2014_000000000042", "x"], numbers(2))
    with pytest.raises(
        InputError, match=r"no feature of 'COCO_val2014_42' among its 2; the nearest is 'COCO_val2014_0"
    ):
        FeatureStore(tmp_path).row_of("COCO_val2014_42")


@pytest.mark.parametrize(
    "change, sentence",
    [
        (
            {"model": "ViT-L-14:openai", "sha": "b8cca3fd4195"},
            r"are of ViT-B-32:openai \(sha 40d365715913\), the evaluator uses ViT-L-14:openai \(sha b8cca3fd4195\); "
            r"embed them anew with --model ViT-L-14:openai, or give the evaluator checkpoint=ViT-B-32:openai$",
        ),
        ({"act": "gelu"}, "made with activation quickgelu, the evaluator uses activation gelu; embed them anew"),
        ({"prep": "224-half"}, "made with preprocessing 224-openai, the evaluator uses preprocessing 224-half"),
        ({"prec": "bf16"}, "made with precision fp32, the evaluator uses precision bf16"),
        ({"lora": "mlp"}, "made with lora not stated, the evaluator uses lora mlp"),
    ],
)
def test_features_of_another_encoder_are_refused(store, change, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        FeatureStore(store).check({**FIELDS, **change})
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="holds features with .*, not .*; name another folder"):
        StoreWriter(store, header(encoder={**FIELDS, **change}))


def test_features_of_the_same_encoder_are_accepted(store):
    found = FeatureStore(store)
    assert found.check(FIELDS) is None
    assert found.check({**FIELDS, "model": "renamed.pt"}) is None  # the hash says that the weights are the same
    assert found.check({**FIELDS, "prec": "bf16"}, ignore=("prec",)) is None
    writer = StoreWriter(store, header(encoder={**FIELDS, "model": "renamed.pt"}))
    writer.write(["z"], numbers(1, start=9))
    assert FeatureStore(store).stored("z").feature().tolist() == [36, 37, 38, 39]
    with pytest.raises(InputError, match="holds image features, text features are needed here"):
        found.check(FIELDS, kind="text")


def test_texts_keep_what_was_embedded(tmp_path):
    prompted = header(kind="text", prompt="A photo depicts ")
    writer = StoreWriter(tmp_path, prompted)
    writer.write(["1#0", "1#1"], numbers(2), ["ein Hund", "a dog"])
    found = FeatureStore(tmp_path)
    assert found.texts == ["ein Hund", "a dog"]
    assert found.check({**FIELDS, "prep": "224-half"}, kind="text", prompt="A photo depicts ") is None
    with pytest.raises(InputError, match="made with the prompt 'A photo depicts ', the evaluator uses ''"):
        found.check(FIELDS, kind="text", prompt="")
    again = StoreWriter(tmp_path, prompted)
    assert again.missing(["1#1", "2#0"], ["a dog", "a cat"]) == [1]
    with pytest.raises(InputError, match="holds '1#1' for another text \\('a dog', now 'a cat'\\)"):
        again.missing(["1#1"], ["a cat"])
    with pytest.raises(InputError, match="with prompt 'A photo depicts ', not prompt ''; name another folder"):
        StoreWriter(tmp_path, header(kind="text"))


@pytest.mark.parametrize("change", [{"kind": "text"}, {"shape": (5,)}, {"dtype": "float16"}])
def test_other_features_are_not_mixed_in(store, change):
    with pytest.raises(InputError, match=f"with {next(iter(change))} .*; name another folder"):
        StoreWriter(store, header(**change))


@pytest.mark.parametrize("shard", [(2, 2), (-1, 2), (0, 0)])
def test_shards_that_do_not_exist(tmp_path, shard):
    with pytest.raises(InputError, match="does not exist"):
        StoreWriter(tmp_path, header(), shard=shard)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds other files and no store\.json; name a new folder"):
        StoreWriter(tmp_path, header())
    assert [p.name for p in tmp_path.iterdir()] == ["1.jpg"]


def test_features_that_do_not_fit(tmp_path):
    writer = StoreWriter(tmp_path, header())
    with pytest.raises(InputError, match=r"2 features of shape \(4,\) were expected for .*, not \(2, 5\)"):
        writer.write(["a", "b"], torch.zeros(2, 5))
    with pytest.raises(InputError, match=r"1 features of shape"):
        writer.write(["a"], torch.zeros(2, 4))
    with pytest.raises(InputError, match="feature of 'b' is not finite"):
        writer.write(["a", "b"], torch.tensor([[1.0] * 4, [float("nan")] * 4]))
    assert len(FeatureStore(tmp_path)) == 0


def test_keys_must_differ(tmp_path):
    with pytest.raises(InputError, match="have one key, 'b'"):
        StoreWriter(tmp_path, header()).missing(["a", "b", "c", "b"])


def test_shards_divide_the_keys(tmp_path):
    keys = [f"{i:012d}" for i in range(1000)]
    todo = [StoreWriter(tmp_path, header(), shard=(i, 4)).missing(keys) for i in range(4)]
    assert sorted(i for part in todo for i in part) == list(range(1000))
    assert all(200 < len(part) < 300 for part in todo)
    assert [k for k in keys[:16] if in_shard(k, (1, 4))] == [keys[i] for i in todo[1] if i < 16]
    # The check value of CRC-32 is 0xCBF43926: the partition is the same on every machine.
    assert [i for i in range(100) if in_shard("123456789", (i, 100))] == [62]


def test_parallel_writers_share_a_folder(tmp_path):
    """Two of one shard that overlap, and one of another: every part is kept, none replaces another."""
    first, second = StoreWriter(tmp_path, header()), StoreWriter(tmp_path, header())
    third = StoreWriter(tmp_path, header(), shard=(1, 2))
    paths = [w.write([k], numbers(1, start=i)) for i, (w, k) in enumerate([(first, "a"), (second, "b"), (third, "c")])]
    assert [p.name for p in paths] == [
        "part-00000.safetensors",
        "part-00001.safetensors",
        "part-1-of-2-00000.safetensors",
    ]
    assert FeatureStore(tmp_path).keys == ["a", "b", "c"]
    assert StoreWriter(tmp_path, header()).missing(["a", "b", "c", "d"]) == [3]


def test_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    writer = StoreWriter(tmp_path, header())
    writer.write(["a"], numbers(1))
    writer.write(["b"], numbers(1, start=1))
    assert FeatureStore(tmp_path).keys == ["a", "b"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "part-00000.safetensors",
        "part-00001.safetensors",
        "store.json",
    ]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(store):
    """A limit on the size of files stands for the disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = StoreWriter(store, header())
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write a part of"):
            writer.write([str(i) for i in range(1000)], numbers(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(p.name for p in store.iterdir()) == ["part-00000.safetensors", "part-00001.safetensors", "store.json"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def cut_in_header(path):
    path.write_bytes(path.read_bytes()[:40])


def page(path):
    path.write_text("<!DOCTYPE html><html>404: this share has moved</html>")


def empty(path):
    path.write_bytes(b"")


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0\0\0\0")


@pytest.mark.parametrize("damage", [cut, cut_in_header, page, empty, longer])
def test_a_damaged_part_is_one_sentence(store, damage):
    damage(store / "part-00001.safetensors")
    with pytest.raises(
        InputError, match=r"part-00001.safetensors is damaged or incomplete; delete it and run the same"
    ):
        FeatureStore(store)
    (store / "part-00001.safetensors").unlink()
    assert StoreWriter(store, header()).missing(list("abcde")) == [3, 4]


def test_a_part_of_another_store_is_refused(store, tmp_path):
    other = StoreWriter(tmp_path / "other", header(encoder={**FIELDS, "act": "gelu"})).write(["x"], numbers(1))
    (store / "part-00009.safetensors").write_bytes(other.read_bytes())
    with pytest.raises(InputError, match=r"part-00009.safetensors is a part of another store"):
        FeatureStore(store)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (None, r"has no store\.json: it is no feature store; make one with `capreward embed"),
        ("{", r"store\.json is damaged"),
        ("[]", r"store\.json is damaged"),
        ('{"format": 2}', r"has store format 2, this capreward reads 1; upgrade capreward"),
        ('{"format": 1, "kind": "image"}', r"store\.json is damaged \(KeyError"),
        ("video", r"store\.json describes no feature store"),
        ("shapeless", r"store\.json describes no feature store"),
    ],
)
def test_a_damaged_header_is_one_sentence(store, content, sentence):
    known = header().to_dict()
    content = {"video": json.dumps({**known, "kind": "video"}), "shapeless": json.dumps({**known, "shape": []})}.get(
        content, content
    )
    (store / "store.json").unlink()
    if content is not None:
        (store / "store.json").write_text(content)
    with pytest.raises(InputError, match=sentence) as caught:
        FeatureStore(store)
    assert "\n" not in str(caught.value)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist; make one with `capreward embed IMAGES -o"):
        FeatureStore(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write"):
        StoreWriter(tmp_path / "file", header())
