from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fuserec.data import BuildOptions
from fuserec.data.build import Sources, build
from fuserec.data.lint import Content, Leak, Parts, lint, lint_content, lint_events
from fuserec.data.lint_content import of_factors, of_shared_users, remembered
from fuserec.data.sample.features import text_features
from fuserec.data.sample.readers import draw_readers, simulate
from fuserec.data.sample.texts import draw_texts
from fuserec.data.sample.world import SampleOptions, draw_books
from fuserec.data.split import TEST, TRAIN, VALID, global_time, leave_one_out
from fuserec.testing.commands import RunCommand

FRACTIONS = (0.8, 0.1, 0.1)


def parts(
    rows: list[tuple[int, int, int, int]], *, kind: str = "column", repeats: bool = False, timed: bool = True
) -> Parts:
    """From rows of user, item, time and part."""
    users, items, times, codes = (np.array(column) for column in zip(*rows, strict=True))
    return Parts(
        name="mine",
        kind=kind,
        users=users,
        items=items,
        times=times if timed else None,
        codes=codes.astype(np.int8),
        repeats=repeats,
    )


def told(found: list[Leak]) -> list[tuple[str, str, int, int]]:
    return [(one.severity, one.kind, one.count, one.of) for one in found]


IN_ORDER = [
    (0, 0, 1, TRAIN),
    (0, 1, 2, VALID),
    (0, 2, 3, TEST),
    (1, 0, 1, TRAIN),
    (1, 2, 5, VALID),
    (1, 3, 6, TEST),
]


def test_a_split_in_the_order_of_time_is_clean() -> None:
    assert lint_events(parts(IN_ORDER)) == []


def test_held_out_events_older_than_training_ones_of_the_user_are_a_leak() -> None:
    rows = [*IN_ORDER, (0, 5, 9, TRAIN)]
    found = lint_events(parts(rows))
    assert told(found) == [("leak", "own future", 2, 4), ("note", "future", 2, 2)]
    assert found[0].message.startswith(
        "2 held-out events of 4 (50%), of 1 user, older than a training event of the same user; split by time"
    )


def test_the_same_instant_is_not_older() -> None:
    assert lint_events(parts([(0, 0, 3, TRAIN), (0, 1, 3, TEST)])) == []


@pytest.mark.parametrize("kind", ["random", "cold-items"])
def test_splits_that_promise_no_order_are_noted_only(kind: str) -> None:
    found = lint_events(parts([(0, 0, 9, TRAIN), (0, 1, 3, TEST)], kind=kind))
    assert told(found) == [("note", "own future", 1, 1), ("note", "future", 1, 1)]
    assert f"as {kind} says of itself" in found[0].message


def test_the_future_of_others_is_a_note_and_in_global_time_a_leak() -> None:
    rows = [(0, 0, 1, TRAIN), (0, 1, 2, TEST), (1, 0, 5, TRAIN), (1, 2, 6, TEST)]
    assert told(lint_events(parts(rows, kind="user-time"))) == [("note", "future", 1, 2)]
    found = lint_events(parts(rows, kind="global-time"))
    assert told(found) == [("leak", "future", 1, 2)]
    assert found[0].message.startswith("1 test event of 2 (50%) older than the newest training event")


def test_the_same_pair_in_two_parts_is_a_leak() -> None:
    rows = [*IN_ORDER, (0, 0, 7, TEST), (1, 2, 8, TEST)]
    found = [one for one in lint_events(parts(rows)) if one.kind == "same event"]
    assert told(found) == [("leak", "same event", 2, 6)]
    assert found[0].message.startswith(
        "2 test events of 4 in an earlier part as well, with the same user and item;"
    )
    assert told(lint_events(parts(rows, timed=False))) == [("leak", "same event", 2, 6)]


def test_where_repeats_are_kept_only_the_same_event_is_a_leak() -> None:
    rows = [*IN_ORDER, (0, 0, 7, TEST), (1, 0, 1, VALID)]
    found = lint_events(parts(rows, repeats=True))
    assert told(found) == [("leak", "same event", 1, 6), ("note", "repeat", 1, 6)]
    assert "and time; leave out duplicates before splitting" in found[0].message


def test_an_item_in_two_parts_breaks_the_promise_of_cold_items() -> None:
    rows = [(0, 0, 1, TRAIN), (1, 0, 2, TEST), (1, 1, 3, TEST)]
    assert told(lint_events(parts(rows, kind="cold-items"))) == [("leak", "shared item", 1, 2)]
    assert told(lint_events(parts(rows))) == []


def test_an_event_is_remembered_if_another_item_of_the_user_is_its_neighbour() -> None:
    neighbours = np.array([[1, -1], [2, 0], [0, -1], [3, 0]])
    users, items = np.array([0, 1, 0, 2]), np.array([0, 1, 2, 3])
    history_users, history_items = np.array([0, 0, 1, 2]), np.array([1, 3, 3, 3])
    found = remembered(neighbours, users, items, history_users, history_items)
    assert found.tolist() == [True, False, False, False]


def test_items_that_share_users_are_neighbours() -> None:
    users, items = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 1, 2])
    graph = of_shared_users(users, items, num_users=3, num_items=4, k=2)
    assert graph.tolist() == [[1, -1], [0, 2], [1, -1], [-1, -1]]


def test_items_of_the_same_users_are_neighbours_by_factors() -> None:
    users, items = np.repeat(np.arange(8), 2), np.array([0, 1] * 5 + [2, 3] * 3)
    graph = of_factors(users, items, num_users=8, num_items=4, rank=2, k=1)
    assert graph.ravel().tolist() == [1, 0, 3, 2]


@pytest.fixture(scope="module", params=[0, 1, 2])
def shop(
    request: pytest.FixtureRequest,
) -> tuple[SampleOptions, Parts, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """An invented shop, with the features of its texts."""
    options = SampleOptions(num_users=1000, num_items=600, seed=request.param)
    books = draw_books(options)
    events = simulate(options, books, draw_readers(options))
    texts = draw_texts(options, books)
    words = [f"{title}. {text}" for title, text in zip(texts.titles, texts.descriptions, strict=True)]
    whole = Parts(
        name="mine",
        kind="column",
        users=events.user,
        items=events.item,
        times=events.seconds,
        codes=np.zeros(len(events), dtype=np.int8),
    )
    return options, whole, text_features(words)


Shop = tuple[SampleOptions, Parts, np.ndarray[tuple[int, int], np.dtype[np.float32]]]


def split(whole: Parts, kind: str) -> Parts:
    assert whole.times is not None
    codes = {
        "leave-one-out": lambda: leave_one_out(whole.users, whole.times).codes,
        "global-time": lambda: global_time(np.asarray(whole.times), FRACTIONS).codes,
    }[kind]()
    return replace(whole, kind=kind, codes=codes)


@pytest.mark.slow
def test_planted_leaks_are_found_and_what_knows_no_events_is_not_accused(shop: Shop) -> None:
    options, whole, texts = shop
    mine = split(whole, "global-time")
    sizes = {"num_users": options.num_users, "num_items": options.num_items}
    train, test = mine.codes == TRAIN, mine.codes == TEST
    matrix = np.zeros((options.num_items, options.num_users), dtype=np.float32)
    matrix[whole.items, whole.users] = 1
    squares, left = np.linalg.eigh(matrix @ matrix.T)

    def graph_of(
        events: np.ndarray[tuple[int], np.dtype[np.bool_]],
    ) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        return of_shared_users(whole.users[events], whole.items[events], k=10, **sizes)

    content = [
        Content(what="text features", features=texts),
        Content(what="graph of training", neighbours=graph_of(train)),
        Content(what="graph of all", neighbours=graph_of(train | ~train)),
        Content(what="graph of test", neighbours=graph_of(test)),
        Content(what="factors of all", features=left[:, -64:] * np.sqrt(squares[-64:])),
    ]
    found = [one.message for one in lint_content(mine, content, **sizes) if one.severity == "leak"]
    for planted in ("graph of all", "graph of test", "factors of all"):
        assert any(
            message.startswith(f"the {planted} know") and "test events" in message for message in found
        )
    assert not [message for message in found if "text" in message or "training know" in message]


@pytest.mark.slow
def test_the_texts_of_the_sample_pass_leave_one_out_too(shop: Shop) -> None:
    options, whole, texts = shop
    sizes = {"num_users": options.num_users, "num_items": options.num_items}
    found = lint_content(
        split(whole, "leave-one-out"), [Content(what="text features", features=texts)], **sizes
    )
    assert [one for one in found if one.severity == "leak"] == []


def test_too_few_events_cannot_tell_and_that_is_noted(shop: Shop) -> None:
    options, whole, texts = shop
    users = whole.users < 60
    few = replace(whole, users=whole.users[users], items=whole.items[users], codes=whole.codes[users])
    few = replace(few, codes=leave_one_out(few.users, None).codes)
    sizes = {"num_users": options.num_users, "num_items": options.num_items}
    found = lint_content(few, [Content(what="text features", features=texts)], **sizes)
    assert [one.severity for one in found] == ["note", "note"]
    assert (
        "on items that train say too little to tell whether the text features know them" in found[0].message
    )


def test_the_command_finds_a_planted_leak_and_passes_a_clean_dataset(
    fuserec: RunCommand, tmp_path: Path
) -> None:
    rows = [f"u{user},i{item},{10 * item + user}" for user in range(4) for item in range(5)]
    (tmp_path / "events.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    build(tmp_path / "clean", Sources(events=tmp_path / "events.csv"), BuildOptions(splits=("global-time",)))
    clean = fuserec("data", "lint", tmp_path / "clean")
    assert (clean.code, clean.out, clean.err) == (0, "no leak found\n", "")
    assert fuserec("data", "lint", tmp_path / "clean", "--json").json == []

    parts_of = [f"{row},{'test' if ',i1,' in row else 'train'}" for row in rows]
    (tmp_path / "planted.csv").write_text("user,item,time,split\n" + "\n".join(parts_of) + "\n")
    build(tmp_path / "planted", Sources(events=tmp_path / "planted.csv"))
    planted = fuserec("data", "lint", tmp_path / "planted")
    assert planted.code == 1
    assert planted.out == (
        "leak: split: 4 held-out events of 4 (100%), of 4 users, older than a training event of the same user; "
        "split by time, for example --split user-time\n"
        "note: split: 4 test events of 4 (100%) older than the newest training event; only global-time has none\n"
    )
    found = fuserec("data", "lint", tmp_path / "planted", "--json")
    assert (found.code, [one["severity"] for one in found.json]) == (1, ["leak", "note"])


def test_a_dataset_with_content_is_linted_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{user},{item},{rng.integers(1000)}" for user in range(300) for item in rng.permutation(40)[:8]]
    (tmp_path / "events.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text("item\n" + "\n".join(map(str, range(40))) + "\n")
    np.save(tmp_path / "text.npy", rng.normal(size=(40, 4)).astype(np.float32))
    sources = Sources(
        events=tmp_path / "events.csv", items=tmp_path / "items.csv", features={"text": tmp_path / "text.npy"}
    )
    found = lint(build(tmp_path / "dataset", sources, BuildOptions(splits=("user-time",))))
    assert {(one.severity, one.kind) for one in found} <= {("note", "future"), ("note", "content")}
    assert ("note", "future") in {(one.severity, one.kind) for one in found}
