from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from fuserec.batch import Queries
from fuserec.data.build import Sources, build
from fuserec.data.dataset import Dataset
from fuserec.data.sample.features import text_features
from fuserec.data.sample.readers import draw_readers, simulate
from fuserec.data.sample.texts import draw_texts
from fuserec.data.sample.world import SampleOptions, draw_books
from fuserec.data.schema import BuildOptions
from fuserec.errors import CheckpointError, ConfigError, DataError
from fuserec.index.addition import add_items
from fuserec.index.build import load
from fuserec.index.extension import NewRows
from fuserec.index.recommend import Recommender
from fuserec.models.popularity import PopularityScorer
from fuserec.training.checkpoint import Run, save_scorer
from fuserec.training.config import parse_recipe
from fuserec.training.lock import exclusive
from fuserec.training.run import evaluate_run, train

WARM = np.array([1.0, 0.1], dtype=np.float32)
COLD = np.array([0.1, 1.0], dtype=np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of hats (even) and mugs (odd), 24 people who like one of the two, and a run. Tests only read it."""
    folder = tmp_path_factory.mktemp("shop")
    lines = ["user,item,time"]
    for user in range(24):
        lines += [
            f"u{user},i{(2 * (user // 2 + place) + user % 2) % 12},{1_600_000_000 + place}"
            for place in range(5)
        ]
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    rows = [f"i{item},Thing {item},{'hats' if item % 2 == 0 else 'mugs'}" for item in range(12)]
    (folder / "items.csv").write_text("\n".join(["item,title,category", *rows]) + "\n")
    noise = 0.05 * np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    np.save(folder / "text.npy", np.array([WARM, COLD] * 6) + noise)
    sources = Sources(
        events=folder / "events.csv", items=folder / "items.csv", features={"text": folder / "text.npy"}
    )
    dataset = build(folder / "data", sources)
    train_run(dataset, folder / "run", "content_knn", neighbours=4)
    return folder


def train_run(dataset: Dataset, out: Path, model: str, **options: object) -> Run:
    table = {"model": {"name": model, **options}, "evaluation": {"cutoffs": [5]}}
    return train(parse_recipe(table), dataset.prepare(), out, dataset=str(dataset.path.resolve()))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    """A copy of the run, to be changed."""
    return Run.open(shutil.copytree(made / "run", tmp_path / "run"))


@pytest.fixture
def dataset(made: Path) -> Dataset:
    return Dataset.open(made / "data")


def catalogue(folder: Path, *rows: str, name: str = "new.csv", header: str = "item,title,category") -> Path:
    (folder / name).write_text("\n".join([header, *rows]) + "\n")
    return folder / name


def encode(frame: pl.DataFrame) -> Mapping[str, NewRows]:
    """By the word in the title; nothing where it is another one."""
    titles = frame["title"].to_list()
    rows = [WARM if "hat" in title else COLD if "mug" in title else 0 * COLD for title in titles]
    features = torch.from_numpy(np.array(rows))
    return {"text": NewRows(features=features, present=features.any(1))}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scores_of(recommender: Recommender) -> torch.Tensor:
    users = torch.arange(len(recommender.user_ids))
    queries = Queries(users=users, histories=recommender.histories)
    return recommender.scorer.scores(queries, slice(0, recommender.scorer.num_items)).clone()


def test_new_items_are_recommended_to_those_who_like_such_and_all_else_stays(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    run_before, data_before, before = bytes_of(run.path), bytes_of(dataset.path), load(run.path)
    new = catalogue(tmp_path, "n1,A new hat,hats", "n2,A new mug,mugs")
    addition = add_items(run, dataset, new, encode=encode)
    assert (addition.items, addition.total, addition.unplaced) == (["n1", "n2"], 2, [])
    assert addition.with_content == {"text": 2}

    after = load(run.path)
    assert bytes_of(dataset.path) == data_before
    assert {name: bytes_of(run.path)[name] for name in run_before} == run_before
    assert torch.equal(scores_of(after)[:, :12], scores_of(before))
    shown = after.recommend(k=3, items_to_recommend=["n1", "n2"], categories=["hats", "mugs"])
    best = shown.filter(pl.col("rank") == 1)
    assert all(
        title == ("A new hat" if int(user[1:]) % 2 == 0 else "A new mug")
        for user, title in best.select("user_id", "title").rows()
    )
    # and of the others everybody gets what they got, with the same scores
    rest = after.recommend(k=12, exclude=["n1", "n2"])
    assert rest.equals(before.recommend(k=12))


def test_a_new_item_is_known_wherever_items_are(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    add_items(run, dataset, catalogue(tmp_path, "n1,A new hat,caps"), encode=encode)
    recommender = load(run.path)
    assert set(recommender.similar("n1", k=4)["item_id"]) <= {f"i{item}" for item in range(0, 12, 2)}
    assert "n1" in recommender.similar("i0", k=12)["item_id"].to_list()
    assert recommender.recommend(["u0"], categories=["caps"])["item_id"].to_list() == ["n1"]
    served = recommender.recommend(histories=[["n1"]], k=2)
    assert served["source"].to_list() == ["history", "history"]
    assert recommender.known_items(["n1", "n2"]) == (["n1"], ["n2"])
    assert recommender.popularity[-1] == 0


def test_two_additions_come_to_what_one_of_both_does(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    once = Run.open(shutil.copytree(run.path, tmp_path / "once"))
    hat, mug = "n1,A new hat,hats", "n2,A new mug,mugs"
    add_items(run, dataset, catalogue(tmp_path, hat), encode=encode)
    second = add_items(run, dataset, catalogue(tmp_path, mug), encode=encode)
    add_items(once, dataset, catalogue(tmp_path, hat, mug), encode=encode)
    assert (second.items, second.total) == (["n2"], 2)
    twice, both = load(run.path), load(once.path)
    assert torch.equal(scores_of(twice), scores_of(both))
    assert twice.items.equals(both.items)
    # the folder holds the last of each and nothing of before
    assert len(bytes_of(run.path / "added")) == 4
    manifest = json.loads((run.path / "added" / "manifest.json").read_text())
    assert [each["items"] for each in manifest["additions"]] == [1, 1]
    assert manifest["dataset_hash"] == dataset.manifest_hash


def test_items_that_are_there_are_passed_over_and_told(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    new = catalogue(tmp_path, "n1,A new hat,hats", "i3,Another name,mugs")
    addition = add_items(run, dataset, new, encode=encode)
    assert addition.items == ["n1"]
    assert [finding.line() for finding in addition.findings] == [
        "1 item of new.csv already there; what is known of them stays (i3)"
    ]
    assert load(run.path).items.filter(pl.col("item_id") == "i3")["title"].to_list() == ["Thing 3"]
    with pytest.raises(DataError, match="found none: 2 items of it already there; items that are there stay"):
        add_items(run, dataset, new, encode=encode)


def test_an_item_without_content_is_told_and_none_with_any_is_refused(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    addition = add_items(
        run, dataset, catalogue(tmp_path, "n1,A new hat,hats", "n2,Bare,hats"), encode=encode
    )
    assert (addition.unplaced, addition.with_content) == (["n2"], {"text": 1})
    assert not scores_of(load(run.path))[:, -1].any()
    before = bytes_of(run.path)
    with pytest.raises(
        DataError, match=r"by which .*run can place them \(text\), found none; give their texts"
    ):
        add_items(run, dataset, catalogue(tmp_path, "n3,Bare,hats"), encode=encode)
    with pytest.raises(DataError, match="found none"):
        add_items(run, dataset, catalogue(tmp_path, "n3,A hat,hats"))
    assert bytes_of(run.path) == before


def test_vectors_that_come_ready_are_matched_by_id_or_by_the_order_of_the_file(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    other = Run.open(shutil.copytree(run.path, tmp_path / "other"))
    new = catalogue(tmp_path, "i0,Known,hats", "n1,A,hats", "n2,B,mugs")
    np.savez(tmp_path / "by_id.npz", features=np.array([COLD, WARM, WARM]), ids=np.array(["n2", "n1", "x"]))
    np.save(tmp_path / "by_order.npy", np.array([COLD, WARM, COLD]))
    told = add_items(run, dataset, new, features={"text": tmp_path / "by_id.npz"}).findings
    assert "1 row of the text features left out: the id is not an item (by_id.npz)" in [
        finding.message for finding in told
    ]
    add_items(other, dataset, new, features={"text": tmp_path / "by_order.npy"}, encode=encode)
    assert torch.equal(scores_of(load(run.path)), scores_of(load(other.path)))
    manifest = json.loads((run.path / "added" / "manifest.json").read_text())
    assert manifest["additions"][0]["ready"] == {"text": "by_id.npz"}


def test_vectors_of_another_width_or_name_are_refused(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    new = catalogue(tmp_path, "n1,A,hats")
    np.save(tmp_path / "wide.npy", np.ones((1, 3), dtype=np.float32))
    with pytest.raises(DataError, match=r"expected 2 numbers an item in .*wide\.npy, as the dataset's text"):
        add_items(run, dataset, new, features={"text": tmp_path / "wide.npy"})
    with pytest.raises(ConfigError, match="has features of, got 'texts'; did you mean 'text'"):
        add_items(run, dataset, new, features={"texts": tmp_path / "wide.npy"})
    wide = {"text": NewRows(features=torch.ones(1, 3), present=torch.ones(1, dtype=torch.bool))}
    with pytest.raises(DataError, match=r"expected 1 rows of 2 text features, got \(1, 3\)"):
        add_items(run, dataset, new, encode=lambda _: wide)
    assert not (run.path / "added").exists()


def test_columns_are_those_of_the_dataset_or_as_told(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    new = catalogue(tmp_path, "n1,A new hat", header="item,called")
    add_items(run, dataset, new, columns={"title": "called"}, encode=encode)
    assert load(run.path).items.tail(1).to_dicts() == [
        {"item_id": "n1", "title": "A new hat", "category": None}
    ]


def test_a_withdrawn_item_is_never_shown_and_the_others_are(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    new = catalogue(
        tmp_path, "n1,A hat,no", "n2,Another hat,yes", header="item,title,available", name="stock.csv"
    )
    add_items(run, dataset, new, encode=encode)
    recommender = load(run.path)
    assert recommender.recommend(["u0"], items_to_recommend=["n1", "n2", "i1"])["item_id"].to_list() == [
        "n2",
        "i1",
    ]
    # a later file that says nothing of it makes nobody unavailable
    add_items(run, dataset, catalogue(tmp_path, "n3,A hat,hats"), encode=encode)
    assert load(run.path).available is not None
    assert load(run.path).recommend(["u0"], items_to_recommend=["n1", "n3"])["item_id"].to_list() == ["n3"]


def test_ids_are_of_the_type_that_the_dataset_has(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(
        "user,item\n" + "".join(f"u{user},{item}\n" for user in range(6) for item in (1, 2, 3))
    )
    (tmp_path / "items.csv").write_text("item,title\n1,a hat\n2,a hat\n3,a mug\n")
    np.save(tmp_path / "text.npy", np.array([WARM, WARM, COLD]))
    sources = Sources(
        events=tmp_path / "events.csv",
        items=tmp_path / "items.csv",
        features={"text": tmp_path / "text.npy"},
    )
    dataset = build(tmp_path / "data", sources)
    run = train_run(dataset, tmp_path / "run", "content_knn")
    with pytest.raises(
        DataError, match=r"expected integers as ids of items in .*new\.csv, as the dataset has"
    ):
        add_items(run, dataset, catalogue(tmp_path, "n1,A hat", header="item,title"), encode=encode)
    add_items(run, dataset, catalogue(tmp_path, "7,A hat", header="item,title"), encode=encode)
    assert load(run.path).items["item_id"].to_list() == [1, 2, 3, 7]


def test_a_model_that_goes_by_events_is_refused_before_anything_is_read(
    dataset: Dataset, tmp_path: Path
) -> None:
    run = train_run(dataset, tmp_path / "run", "item_knn")
    with pytest.raises(
        ConfigError, match="got 'item_knn', which knows items by their events only; train one"
    ):
        add_items(run, dataset, tmp_path / "missing.csv", encode=encode)


def test_a_modality_with_a_ready_graph_only_is_told(tmp_path: Path, made: Path) -> None:
    neighbours = np.array([[(item + 2) % 12] for item in range(12)])
    np.savez(tmp_path / "image.npz", neighbours=neighbours, weights=np.ones((12, 1)))
    sources = Sources(
        events=made / "events.csv",
        items=made / "items.csv",
        features={"text": made / "text.npy"},
        graphs={"image": tmp_path / "image.npz"},
    )
    dataset = build(tmp_path / "data", sources)
    run = train_run(dataset, tmp_path / "run", "content_knn")
    addition = add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    assert [finding.message for finding in addition.findings] == [
        "image places no new item: the dataset has a ready graph of it, and no features"
    ]
    assert addition.with_content == {"text": 1, "image": 0}


def test_another_dataset_is_refused(run: Run, tmp_path: Path, made: Path) -> None:
    other = build(tmp_path / "other", Sources(events=made / "events.csv", items=made / "items.csv"))
    with pytest.raises(
        CheckpointError, match="was trained on it, but it is another dataset or has got other"
    ):
        add_items(run, other, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)


def test_a_scorer_of_another_number_of_items_is_refused(run: Run) -> None:
    scorer = run.scorer()
    save_scorer(run.path / "scorer.safetensors", PopularityScorer(torch.ones(scorer.num_items + 1)))
    told = rf"^expected a scorer of the {scorer.num_items} items of .*, got one of {scorer.num_items + 1}; train again$"
    with pytest.raises(CheckpointError, match=told):
        load(run.path)


@pytest.mark.parametrize("name", ["items", "scorer", "manifest"])
def test_a_damaged_addition_is_told_with_the_way_out(
    run: Run, dataset: Dataset, tmp_path: Path, name: str
) -> None:
    add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    (file,) = (run.path / "added").glob(f"{name}*")
    whole = file.read_bytes()
    for broken in (whole[:-9], b""):
        file.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"run/added, but .*; remove that folder and add the items"):
            load(run.path)
    if name != "manifest":
        file.unlink()
        with pytest.raises(CheckpointError, match=f"but {name}.* is missing; remove that folder"):
            load(run.path)
    shutil.rmtree(run.path / "added")
    assert load(run.path).first_added is None


def test_damaged_features_stop_the_next_addition_and_not_the_recommendations(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    (file,) = (run.path / "added").glob("features*")
    file.write_bytes(b"no")
    assert load(run.path).first_added == 12
    with pytest.raises(CheckpointError, match=f"but {file.name} was changed; remove that folder"):
        add_items(run, dataset, catalogue(tmp_path, "n2,A hat,hats"), encode=encode)


def test_nothing_is_written_or_removed_through_a_link(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "items-0123456789ab.parquet").write_text("mine")
    (run.path / "added").symlink_to(victim)
    with pytest.raises(
        CheckpointError, match=r"expected a folder of the run, but .*added is a link; remove it"
    ):
        add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    assert [path.name for path in victim.iterdir()] == ["items-0123456789ab.parquet"]


def test_what_was_added_to_another_run_or_by_a_newer_fuserec_is_refused(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    other = train_run(dataset, tmp_path / "other", "content_knn", neighbours=2)
    shutil.copytree(run.path / "added", other.path / "added")
    with pytest.raises(CheckpointError, match="but it was added to another run; remove that folder"):
        load(other.path)
    manifest = json.loads((run.path / "added" / "manifest.json").read_text())
    (run.path / "added" / "manifest.json").write_text(json.dumps({**manifest, "format_version": 2}))
    with pytest.raises(CheckpointError, match=r"of format 1 in .*added, got 2; upgrade fuserec, or remove"):
        load(run.path)


def test_a_killed_addition_leaves_the_run_as_it_was(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    """The manifest comes last: without it the files are nothing, and the next addition removes them."""
    (run.path / "added").mkdir()
    (run.path / "added" / "scorer-0123456789ab.safetensors").write_bytes(b"half")
    assert load(run.path).first_added is None
    add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    assert len(bytes_of(run.path / "added")) == 4


def test_a_run_that_is_trained_anew_takes_no_items_meanwhile(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    # a lock of the same process through another handle counts as another's
    with (
        exclusive(tmp_path / ".run.lock", task="train"),
        pytest.raises(ConfigError, match=r"expected to be the only one to change .*run, but process"),
    ):
        add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)


def test_training_anew_takes_the_added_items_away_and_evaluation_passes_them_over(
    run: Run, dataset: Dataset, tmp_path: Path
) -> None:
    expected = evaluate_run(run, dataset.prepare(), part="test").means()
    add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    assert evaluate_run(run, dataset.prepare(), part="test").means() == expected
    (run.path / "added" / ".scorer-0123456789ab.safetensors.k1ll3d").write_bytes(b"")
    train(run.recipe, dataset.prepare(), run.path, overwrite=True)
    assert not (run.path / "added").exists()


def test_a_foreign_file_beside_the_added_items_is_kept(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    add_items(run, dataset, catalogue(tmp_path, "n1,A hat,hats"), encode=encode)
    (run.path / "added" / "notes.txt").write_text("mine")
    add_items(run, dataset, catalogue(tmp_path, "n2,A hat,hats"), encode=encode)
    assert (run.path / "added" / "notes.txt").read_text() == "mine"
    with pytest.raises(DataError, match=r"holds added/notes\.txt; move it away"):
        train(run.recipe, dataset.prepare(), run.path, overwrite=True)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["content_knn", "tmfun_plus"])
def test_books_that_came_later_find_the_readers_they_were_held_out_from(tmp_path: Path, model: str) -> None:
    """The invented bookshop, less twelve books with all their events; only their texts come back."""
    options = SampleOptions(num_users=200, num_items=150)
    books = draw_books(options)
    texts, events = draw_texts(options, books), simulate(options, books, draw_readers(options))
    held = np.flatnonzero(np.bincount(events.item, minlength=len(books)) >= 8)[::6][:12]
    is_held = np.isin(np.arange(len(books)), held)
    items = pl.DataFrame({"item_id": [f"b{row}" for row in range(len(books))], "title": texts.titles})
    log = pl.DataFrame({"user_id": events.user, "item_id": items["item_id"].gather(events.item)})
    log = log.with_columns(pl.Series("timestamp", events.seconds))
    items.filter(pl.Series(~is_held)).write_csv(tmp_path / "items.csv")
    items.filter(pl.Series(is_held)).write_csv(tmp_path / "new.csv")
    log.filter(pl.Series(~is_held[events.item])).write_csv(tmp_path / "events.csv")
    words = [f"{title}. {text}" for title, text in zip(texts.titles, texts.descriptions, strict=True)]
    features = text_features(words)
    np.save(tmp_path / "text.npy", features[~is_held])
    np.save(tmp_path / "new.npy", features[is_held])
    sources = Sources(
        events=tmp_path / "events.csv",
        items=tmp_path / "items.csv",
        features={"text": tmp_path / "text.npy"},
    )
    dataset = build(tmp_path / "data", sources, BuildOptions(synthetic=True))
    table: dict[str, object] = {"model": {"name": model}}
    if model == "tmfun_plus":
        table["model"] = {"name": model, "dim": 16}
        table["train"] = {"epochs": 6, "batch_size": 256, "learning_rate": 1e-2, "device": "cpu"}
        table["loss_weights"] = {"bpr": 1.0, "l2": 1e-4}
    run = train(parse_recipe(table), dataset.prepare(), tmp_path / "run", dataset=str(dataset.path))
    before = load(run.path)
    add_items(run, dataset, tmp_path / "new.csv", features={"text": tmp_path / "new.npy"})
    after = load(run.path)

    old = before.recommend(k=150)
    new = [f"b{row}" for row in held]
    assert after.recommend(k=150, exclude=new).equals(old)

    shown = set(after.recommend(k=20).select("user_id", "item_id").rows())
    readers = {
        (user, f"b{item}") for user, item in zip(events.user, events.item, strict=True) if is_held[item]
    }
    everyone = {(user, item) for user in after.user_ids for item in new}
    rate_of_readers = len(shown & readers) / len(readers)
    rate_of_others = len((shown & everyone) - readers) / len(everyone - readers)
    assert rate_of_readers > 1.5 * 20 / dataset.num_items
    assert rate_of_readers > 1.3 * rate_of_others
    same = [
        books.theme[int(other[1:])] == books.theme[row]
        for row in held
        for other in after.similar(f"b{row}", k=5, exclude=[item for item in new if item != f"b{row}"])[
            "item_id"
        ]
    ]
    assert np.mean(same) > 4 / 12  # a dozen themes


@pytest.fixture(scope="module")
def mufasa(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop again with titles and categories as features, and a run of MUFASA on it. Tests only read it."""
    folder = tmp_path_factory.mktemp("titles")
    np.save(folder / "category.npy", np.array([[1, 0], [0, 1]] * 6, dtype=np.float32))
    sources = Sources(
        events=made / "events.csv",
        items=made / "items.csv",
        features={"title": made / "text.npy", "category": folder / "category.npy"},
    )
    dataset = build(folder / "data", sources)
    small = {"dim": 8, "num_layers": 1, "heads": 1, "block": 2, "group": 2, "items": "content"}
    fusion = {"fusion_dim": 8, "fusion_heads": 2, "fusion_epochs": 10, "teacher_dim": 2, "teacher_events": 1}
    table = {
        "model": {"name": "mufasa", **small, **fusion},
        "train": {
            "epochs": 6,
            "batch_size": 48,
            "learning_rate": 0.02,
            "device": "cpu",
            "monitor": "Recall@5",
        },
        "loss_weights": dict.fromkeys(
            ("alignment", "collaborative", "structure", "uniformity", "softmax"), 1.0
        ),
        "evaluation": {"cutoffs": [5]},
    }
    train(parse_recipe(table), dataset.prepare(), folder / "run", dataset=str(dataset.path.resolve()))
    return folder


def titles_and_categories(frame: pl.DataFrame) -> Mapping[str, NewRows]:
    category = torch.tensor([[each == "hats", each == "mugs"] for each in frame["category"]]).float()
    return {
        "title": encode(frame)["text"],
        "category": NewRows(features=category, present=category.any(1)),
    }


def test_mufasa_recommends_new_items_finds_what_is_like_them_and_hears_them_in_histories(
    mufasa: Path, tmp_path: Path
) -> None:
    dataset = Dataset.open(mufasa / "data")
    run = Run.open(shutil.copytree(mufasa / "run", tmp_path / "run"))
    once = Run.open(shutil.copytree(mufasa / "run", tmp_path / "once"))
    before, files = load(run.path), bytes_of(run.path)
    hat, mug, bare = "n1,A new hat,hats", "n2,A new mug,mugs", "n3,Bare,hats"
    add_items(run, dataset, catalogue(tmp_path, hat), encode=titles_and_categories)
    addition = add_items(run, dataset, catalogue(tmp_path, mug, bare), encode=titles_and_categories)
    assert (addition.with_content, addition.unplaced) == ({"title": 1, "category": 2}, ["n3"])
    assert {name: bytes_of(run.path)[name] for name in files} == files

    after = load(run.path)
    assert after.recommend(k=12, exclude=["n1", "n2", "n3"]).equals(before.recommend(k=12))
    shown = after.recommend(k=1, items_to_recommend=["n1", "n2"])
    assert all(
        item == ("n1" if int(user[1:]) % 2 == 0 else "n2")
        for user, item in shown.select("user_id", "item_id").rows()
    )
    assert set(after.similar("n1", k=4)["item_id"]) <= {f"i{item}" for item in range(0, 12, 2)}
    served = after.recommend(histories=[["n1"], ["n2"], ["n3"]], k=1, exclude=["n1", "n2"])
    assert served["source"].to_list() == ["history", "history", "start"]
    assert [int(item[1:]) % 2 for item in served["item_id"][:2]] == [0, 1]

    add_items(once, dataset, catalogue(tmp_path, hat, mug, bare), encode=titles_and_categories)
    assert torch.equal(scores_of(load(once.path)), scores_of(after))
    with pytest.raises(DataError, match=r"can place them \(title, category\), found none; give their texts"):
        add_items(once, dataset, catalogue(tmp_path, "n4,Bare,hats"), encode=titles_and_categories)
