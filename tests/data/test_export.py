from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuserec.data import BuildOptions, Dataset
from fuserec.data.build import Sources, build
from fuserec.data.export import export_to
from fuserec.data.mmrec import import_mmrec
from fuserec.errors import ConfigError, DataError

EVENTS = """user,item,time,rating,part,shop
bob,30,5,4.5,train,x
ann,10,1,1,train,y
ann,30,2,,valid,x
ann,20,3,2,test,x
bob,10,6,3,test,x
"""
ITEMS = 'id,title,genre,maker\n30,"A cup,\n with ""ears""",home|tea time,Ito\n10,Ball,toy,\n20,,,Ito\n40,Kite,toy,\n'


def make(place: Path, *, splits: tuple[str, ...] = ("column",)) -> Dataset:
    """Two users, four items of which one has no event and one no picture."""
    raw = place / "raw"
    raw.mkdir()
    (raw / "events.csv").write_text(EVENTS)
    (raw / "items.csv").write_text(ITEMS)
    np.save(raw / "image.npy", np.array([[1, 0], [0, 1], [0, 0], [2, 2]], dtype=np.float16))
    np.savez(raw / "image.npz", neighbours=np.array([[1], [2], [3], [0]]), weights=np.ones((4, 1)))
    sources = Sources(
        events=raw / "events.csv",
        items=raw / "items.csv",
        features={"image": raw / "image.npy"},
        graphs={"image": raw / "image.npz"},
    )
    split_columns = ("part",) if "column" in splits else ()
    return build(place / "shop", sources, BuildOptions(split_columns=split_columns, splits=splits))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make(tmp_path)


def test_mmrecs_log_holds_rows_and_the_part_of_each_event(dataset: Dataset, tmp_path: Path) -> None:
    export_to(dataset, tmp_path / "toys", "mmrec")
    assert (tmp_path / "toys" / "toys.inter").read_text() == (
        "userID\titemID\trating\ttimestamp\tx_label\n"
        "0\t1\t1.0\t1\t0\n"
        "0\t0\t\t2\t1\n"
        "0\t2\t2.0\t3\t2\n"
        "1\t0\t4.5\t5\t0\n"
        "1\t1\t3.0\t6\t2\n"
    )
    assert (tmp_path / "toys" / "u_id_mapping.csv").read_text() == "user_id\tuserID\nann\t0\nbob\t1\n"
    assert (
        tmp_path / "toys" / "i_id_mapping.csv"
    ).read_text() == "item_id\titemID\n30\t0\n10\t1\n20\t2\n40\t3\n"


def test_what_mmrec_cannot_hold_is_told(dataset: Dataset, tmp_path: Path) -> None:
    assert export_to(dataset, tmp_path / "toys", "mmrec") == [
        "1 item without image features: a row of zeros in image_feat.npy",
        "left out, since the format has no place for them: neighbour graphs (image)",
        "left out, since the format has no place for them: columns of the events (shop)",
        "left out, since the format has no place for them: columns of the items (title, category, maker)",
    ]


def test_export_to_mmrec_and_import_give_the_same_dataset(dataset: Dataset, tmp_path: Path) -> None:
    export_to(dataset, tmp_path / "toys", "mmrec")
    back = import_mmrec(tmp_path / "toys", tmp_path / "back")
    assert back.prepare().split_hash == dataset.prepare().split_hash
    assert back.user_ids.to_list() == dataset.user_ids.to_list()
    assert back.item_ids.to_list() == dataset.item_ids.to_list()
    columns = ("user", "item", "time", "rating")
    assert back.interactions().select(columns).equals(dataset.interactions().select(columns))
    for name in ("features/image.npy", "features/image.present.npy"):
        assert (back.path / name).read_bytes() == (dataset.path / name).read_bytes()


@settings(max_examples=12, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1
    ),
    text=st.booleans(),
)
def test_any_log_survives_the_way_there_and_back(
    events: list[tuple[int, int, int, int]], text: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("log")
    name = "é\t\"'".__add__ if text else int
    frame = pl.DataFrame(
        {
            "user": [name(str(user)) for user, _, _, _ in events],
            "item": [name(str(item)) for _, item, _, _ in events],
            "time": [time for _, _, time, _ in events],
            "split": [("train", "valid", "test")[part] for _, _, _, part in events],
        }
    )
    # Some event must train.
    first = pl.DataFrame([[name("9"), name("9"), 0, "train"]], schema=frame.schema, orient="row")
    pl.concat([frame, first]).write_parquet(place / "events.parquet")
    before = build(place / "data", Sources(events=place / "events.parquet"), BuildOptions(repeats="keep"))
    export_to(before, place / "there", "mmrec")
    after = import_mmrec(place / "there", place / "back", repeats="keep")
    assert after.prepare().split_hash == before.prepare().split_hash
    assert after.user_ids.to_list() == before.user_ids.to_list()
    assert after.item_ids.to_list() == before.item_ids.to_list()


def test_recboles_files_name_the_type_of_each_column(dataset: Dataset, tmp_path: Path) -> None:
    notes = export_to(dataset, tmp_path / "toys", "recbole")
    files = sorted(path.name for path in (tmp_path / "toys").iterdir())
    assert files == ["toys.inter", "toys.item"]
    assert (tmp_path / "toys" / "toys.inter").read_text() == (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "ann\t10\t1.0\t1\n"
        "ann\t30\t\t2\n"
        "ann\t20\t2.0\t3\n"
        "bob\t30\t4.5\t5\n"
        "bob\t10\t3.0\t6\n"
    )
    assert (tmp_path / "toys" / "toys.item").read_text() == (
        "item_id:token\ttitle:token_seq\tcategory:token_seq\n"
        '30\t"A cup, with ""ears"""\thome tea_time\n'
        "10\tBall\ttoy\n"
        "20\t\t\n"
        "40\tKite\ttoy\n"
    )
    assert [note.partition("them: ")[2] for note in notes] == [
        "features (image)",
        "neighbour graphs (image)",
        "columns of the events (shop)",
        "columns of the items (maker)",
    ]


def test_a_split_for_recbole_is_three_files(dataset: Dataset, tmp_path: Path) -> None:
    export_to(dataset, tmp_path / "toys", "recbole", split="part")
    logs = {
        part: pl.read_csv(tmp_path / "toys" / f"toys.{part}.inter", separator="\t")
        for part in dataset_parts()
    }
    held = {part: frame.select("user_id:token", "item_id:token").rows() for part, frame in logs.items()}
    assert held == {
        "train": [("ann", 10), ("bob", 30)],
        "valid": [("ann", 30)],
        "test": [("ann", 20), ("bob", 10)],
    }
    assert not (tmp_path / "toys" / "toys.inter").exists()


def dataset_parts() -> tuple[str, ...]:
    return ("train", "valid", "test")


def test_categories_as_lists_become_tokens(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("user,item\na,1\n")
    items = pl.DataFrame({"item": [1, 2, 3], "category": [["home", "tea  time"], [], None]})
    items.write_parquet(tmp_path / "items.parquet")
    sources = Sources(events=tmp_path / "events.csv", items=tmp_path / "items.parquet")
    export_to(build(tmp_path / "data", sources), tmp_path / "toys", "recbole")
    lines = (tmp_path / "toys" / "toys.item").read_text().splitlines()[1:]
    assert [line.replace('""', "") for line in lines] == ["1\thome tea_time", "2\t", "3\t"]


def test_several_splits_need_a_name_for_mmrec_only(tmp_path: Path) -> None:
    dataset = make(tmp_path, splits=("column", "leave-one-out"))
    with pytest.raises(ConfigError, match="expected the name of a split"):
        export_to(dataset, tmp_path / "toys", "mmrec")
    export_to(dataset, tmp_path / "toys", "mmrec", split="leave-one-out")
    back = import_mmrec(tmp_path / "toys", tmp_path / "back")
    assert back.prepare().split_hash == dataset.prepare("leave-one-out").split_hash
    export_to(dataset, tmp_path / "all", "recbole")


def test_what_cannot_be_exported_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no format 'recbol'; did you mean 'recbole'"):
        export_to(dataset, tmp_path / "toys", "recbol")
    with pytest.raises(ConfigError, match="no split 'parts'"):
        export_to(dataset, tmp_path / "toys", "recbole", split="parts")
    with pytest.raises(ConfigError, match="expected the name of a folder to export to"):
        export_to(dataset, tmp_path / "two words", "mmrec")
    assert not (tmp_path / "toys").exists()


def test_only_an_export_of_the_same_form_is_replaced(dataset: Dataset, tmp_path: Path) -> None:
    export_to(dataset, tmp_path / "toys", "mmrec")
    with pytest.raises(DataError, match="choose another or pass --overwrite"):
        export_to(dataset, tmp_path / "toys", "mmrec")
    export_to(dataset, tmp_path / "toys", "mmrec", overwrite=True)
    with pytest.raises(DataError, match=r"expected toys\.item in the folder to overwrite"):
        export_to(dataset, tmp_path / "toys", "recbole", overwrite=True)
    with pytest.raises(DataError, match=r"expected shop\.inter in the folder to overwrite"):
        export_to(dataset, dataset.path, "mmrec", overwrite=True)
