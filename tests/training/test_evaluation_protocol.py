from __future__ import annotations

import dataclasses

import pytest
import torch

from fuserec.batch import Corpus, Pairs, Prepared
from fuserec.errors import ConfigError, ProtocolError
from fuserec.training.evaluation_protocol import EvaluationProtocol


def prepared(*, repeats: bool = False) -> Prepared:
    pairs = Pairs(users=torch.tensor([0]), items=torch.tensor([0]))
    return Prepared(
        corpus=Corpus(num_users=1, num_items=1, train=pairs),
        valid=pairs,
        test=pairs,
        split="random",
        repeats=repeats,
        dataset_hash="d" * 64,
        split_hash="s" * 64,
    )


def test_the_standard_protocol_masks_what_the_user_is_known_to_have() -> None:
    data = prepared()
    assert EvaluationProtocol.standard(data, "valid").masked_parts == ("train",)
    assert EvaluationProtocol.standard(data, "test").masked_parts == ("train", "valid")
    assert EvaluationProtocol.standard(prepared(repeats=True), "test").masked_parts == ()


def test_the_hash_changes_with_every_field_and_with_nothing_else() -> None:
    protocol = EvaluationProtocol.standard(prepared(), "test")
    changes: list[dict[str, object]] = [
        {"name": "other"},
        {"split_hash": "t" * 64},
        {"part": "valid"},
        {"mask": "train"},
        {"history": "train+valid"},
        {"ties": "order"},
        {"ideal": "retrieved", "retrieved": 20},
        {"ideal": "retrieved", "retrieved": 30},
        {"map_divisor": "capped"},
    ]
    hashes = [protocol.hash, *(dataclasses.replace(protocol, **change).hash for change in changes)]  # type: ignore[arg-type]
    assert len(set(hashes)) == len(hashes)
    assert EvaluationProtocol.standard(prepared(), "test").hash == protocol.hash


def test_a_protocol_survives_json_and_an_unknown_one_is_refused() -> None:
    protocol = EvaluationProtocol.compatibility("lattice", prepared(), "test")
    assert EvaluationProtocol.from_dict(protocol.to_dict()) == protocol
    with pytest.raises(ProtocolError, match=r"missing: \[\], unknown: \['sampled'\]"):
        EvaluationProtocol.from_dict(protocol.to_dict() | {"sampled": 100})
    with pytest.raises(
        ProtocolError, match="expected ties of the protocol to be one of 'expectation', 'order'"
    ):
        EvaluationProtocol.from_dict(protocol.to_dict() | {"ties": "random"})
    with pytest.raises(
        ProtocolError, match="expected the length of the retrieved list with the ideal 'retrieved'"
    ):
        EvaluationProtocol.from_dict(protocol.to_dict() | {"retrieved": None})


def test_numbers_of_two_protocols_do_not_compare_and_the_difference_is_named() -> None:
    data = prepared()
    standard = EvaluationProtocol.standard(data, "test")
    standard.require(EvaluationProtocol.standard(data, "test"))
    with pytest.raises(
        ProtocolError, match=r"differ in name 'standard' and 'mmrec'; mask 'train\+valid' and 'train'"
    ):
        standard.require(EvaluationProtocol.compatibility("mmrec", data, "test"))


def test_an_unknown_compatibility_mode_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="expected a compatibility mode, got 'latice'; did you mean 'lattice'"
    ):
        EvaluationProtocol.compatibility("latice", prepared(), "test")


def test_what_is_told_at_test_is_a_word_of_the_protocol_and_at_validation_always_the_training_pairs() -> None:
    data = prepared()
    assert EvaluationProtocol.standard(data, "test").history == "train"
    told = EvaluationProtocol.standard(data, "test", history="train+valid")
    assert told.history == "train+valid"
    assert EvaluationProtocol.from_dict(told.to_dict()) == told
    valid = EvaluationProtocol.standard(data, "valid", history="train+valid")
    assert valid == EvaluationProtocol.standard(data, "valid")


def test_numbers_with_and_without_the_validation_event_are_not_compared() -> None:
    data = prepared()
    told = EvaluationProtocol.standard(data, "test", history="train+valid")
    assert told.hash != EvaluationProtocol.standard(data, "test").hash
    with pytest.raises(ProtocolError, match=r"which differ in history 'train\+valid' and 'train'; evaluate"):
        told.require(EvaluationProtocol.standard(data, "test"))


def test_the_truth_is_never_told() -> None:
    told = EvaluationProtocol.standard(prepared(), "test", history="train+valid")
    with pytest.raises(
        ProtocolError,
        match=r"^expected the history 'train' where validation pairs are the truth, got 'train\+valid'$",
    ):
        dataclasses.replace(told, part="valid")
