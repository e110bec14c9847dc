"""Whatever a recipe says comes back from its resolved form: all options of all models, drawn."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fuserec.models.registry import CLOSED_FORMS, GRADIENT_MODELS
from fuserec.training.config import parse_recipe

MODELS = [*CLOSED_FORMS, *GRADIENT_MODELS]

POSITIVE = st.floats(1e-6, 1e6)
SHARE = st.floats(0, 1)
POSITIVE_SHARE = st.floats(0, 1, exclude_min=True)
SHARE_BELOW_1 = st.floats(0, 1, exclude_max=True)
WEIGHTS = st.dictionaries(st.sampled_from(["text", "image", "audio"]), POSITIVE, max_size=3)
SIZES = st.integers(1, 10**9)

SEQUENCE = {"dim": SIZES, "num_layers": SIZES, "heads": SIZES, "dropout": SHARE_BELOW_1}

FIELDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "popularity": st.just({}),
    "content_knn": st.fixed_dictionaries({}, optional={"weights": WEIGHTS, "neighbours": SIZES}),
    "item_knn": st.fixed_dictionaries({}, optional={"shrinkage": POSITIVE}),
    "item_knn_content": st.fixed_dictionaries(
        {}, optional={"shrinkage": POSITIVE, "weights": WEIGHTS, "neighbours": SIZES}
    ),
    "ease": st.fixed_dictionaries({}, optional={"regularisation": POSITIVE, "max_items": SIZES}),
    "ease_content": st.fixed_dictionaries(
        {},
        optional={
            "regularisation": POSITIVE,
            "content_weight": SHARE,
            "weights": WEIGHTS,
            "neighbours": SIZES,
            "max_items": SIZES,
        },
    ),
    "markov": st.fixed_dictionaries(
        {},
        optional={
            "window": SIZES,
            "history": SIZES,
            "decay": POSITIVE_SHARE,
            "shrinkage": POSITIVE,
            "popularity_power": POSITIVE,
        },
    ),
    "sasrec": st.fixed_dictionaries({}, optional=SEQUENCE),
    "esasrec": st.fixed_dictionaries({}, optional=SEQUENCE),
    "hstu": st.fixed_dictionaries({}, optional=SEQUENCE),
    "mufasa": st.fixed_dictionaries(
        {},
        optional={
            **SEQUENCE,
            "attention": st.sampled_from(["sparse", "dense"]),
            "window": SIZES,
            "selected": SIZES,
            "branches": st.sampled_from([["window"], ["block", "selected"]]),
            "gated": st.booleans(),
            "evolution": st.booleans(),
            "items": st.sampled_from(["both", "id", "content"]),
            "id_dropout": SHARE_BELOW_1,
            "similarity": st.sampled_from(["dot", "cosine"]),
            "joint": st.booleans(),
            "title": st.text(max_size=5),
            "genres": st.text(max_size=5),
            "modalities": st.lists(st.text(max_size=5), max_size=3, unique=True),
            "anchor": st.text(max_size=5),
            "fusion": st.sampled_from(["attention", "concat", "mean"]),
            "fusion_epochs": SIZES,
            "alignment_temperature": POSITIVE,
            "same_title": SHARE,
            "teacher": st.sampled_from(["ease", "transitions"]),
            "teacher_events": SIZES,
        },
    ),
    "bpr_mf": st.fixed_dictionaries({}, optional={"dim": SIZES}),
    "freedom": st.fixed_dictionaries(
        {},
        optional={
            "dim": SIZES,
            "num_layers": SIZES,
            "item_layers": SIZES,
            "num_neighbours": SIZES,
            "weights": WEIGHTS,
            "kept_share": POSITIVE_SHARE,
        },
    ),
    "lightgcn": st.fixed_dictionaries({}, optional={"dim": SIZES, "num_layers": SIZES}),
    "mgcn": st.fixed_dictionaries(
        {},
        optional={
            "dim": SIZES,
            "num_layers": SIZES,
            "item_layers": SIZES,
            "num_neighbours": SIZES,
            "temperature": POSITIVE,
            "graph_features": SIZES,
            "modalities": st.lists(st.text(max_size=5), max_size=3, unique=True),
        },
    ),
    "tmfun": st.builds(
        dict.__or__,
        st.fixed_dictionaries(
            {},
            optional={
                "dim": SIZES,
                "num_layers": SIZES,
                "item_layers": SIZES,
                "num_neighbours": SIZES,
                "frozen_share": SHARE,
                "directed": st.booleans(),
                "temperature": POSITIVE,
                "same_above": SHARE,
                "graph_features": SIZES,
                "modalities": st.lists(st.text(max_size=5), max_size=3, unique=True),
            },
        ),
        # options that go together
        st.builds(
            dict.__or__,
            st.sampled_from(
                [
                    {},
                    {"feature_graph_input": "id"},
                    {"feature_graph_input": "feature", "modality_graphs": False},
                ]
            ),
            st.sampled_from(
                [
                    {"steps": ["late"]},
                    {"steps": ["early"]},
                    {"steps": ["early", "late"], "attention": False},
                    {"steps": ["early", "multi", "late"], "scope": "item", "attention": True},
                    {"scope": "pair"},
                    {"scope": "global"},
                ]
            ),
        ),
    ),
    "tmfun_plus": st.fixed_dictionaries(
        {},
        optional={
            "dim": SIZES,
            "num_layers": SIZES,
            "item_layers": SIZES,
            "num_neighbours": SIZES,
            "weights": WEIGHTS,
            "behaviour_weight": POSITIVE,
            "behaviour_neighbours": SIZES,
            "regularisation": POSITIVE,
            "max_items": SIZES,
            "history": st.booleans(),
            "kept_share": POSITIVE_SHARE,
            "thinned_share": SHARE_BELOW_1,
            "cold_scale": POSITIVE,
        },
    ),
}
TRAIN = st.fixed_dictionaries(
    {},
    optional={
        "epochs": SIZES,
        "batch_size": SIZES,
        "learning_rate": POSITIVE,
        "patience": SIZES,
        "evaluate_every": SIZES,
        "monitor": st.text(max_size=8),
        "device": st.sampled_from(["auto", "cpu", "cuda"]),
        "weight_decay": POSITIVE,
        "warmup_steps": SIZES,
        "schedule": st.sampled_from(["constant", "cosine"]),
    },
)


@st.composite
def tables(draw: Any) -> dict[str, Any]:
    name = draw(st.sampled_from(MODELS))
    table: dict[str, Any] = {"model": {"name": name, **draw(FIELDS[name])}}
    table |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.text(max_size=8),
                "seed": st.integers(-(2**63), 2**63 - 1),
                "split": st.text(max_size=8),
                "evaluation": st.fixed_dictionaries(
                    {},
                    optional={
                        "cutoffs": st.lists(SIZES, min_size=1, max_size=4),
                        "history": st.sampled_from(["train", "train+valid"]),
                    },
                ),
            },
        )
    )
    if name in GRADIENT_MODELS:
        table["train"] = draw(TRAIN)
        table["loss_weights"] = draw(st.dictionaries(st.text(max_size=5), st.floats(-10, 10), max_size=3))
    return table


def test_the_strategies_know_every_field() -> None:
    assert FIELDS.keys() == set(MODELS)


@given(tables())
def test_a_resolved_recipe_reads_back_as_itself_also_through_json(table: dict[str, Any]) -> None:
    recipe = parse_recipe(table)
    assert parse_recipe(recipe.to_dict()) == recipe
    again = parse_recipe(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.hash == recipe.hash


@given(tables())
def test_a_resolved_recipe_holds_every_key_that_was_given(table: dict[str, Any]) -> None:
    resolved = parse_recipe(table).to_dict()
    for key, value in table.items():
        if isinstance(value, dict):
            assert value.items() <= resolved[key].items()
        else:
            assert resolved[key] == value
