"""Exact evaluation: every user is ranked over the whole catalogue, and every number says how.

Scores are made in chunks of users and blocks of items and thrown away, so memory does not grow with the
data. There is no loop over users: seen items are masked by index, the K best scores of a row and the
scores of its held-out items are all that the metrics need (`RankedRelevance`).

Shape legend
    B  users of a chunk   J  items of a block   K  largest cutoff   N  users evaluated
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fuserec.batch import Corpus, Histories, Pairs, Prepared, Queries
from fuserec.errors import ConfigError, ProtocolError, TrainingError
from fuserec.metrics import METRICS, RankedRelevance
from fuserec.models.protocol import Scorer
from fuserec.ops.topk import top_values, topk
from fuserec.shapes import Bool, Float, Int
from fuserec.training.evaluation_protocol import EvaluationProtocol, Part, Ties
from fuserec.training.progress import Progress, Silent

__all__ = ["CUTOFFS", "Evaluation", "evaluate", "evaluate_pairs", "rank"]

CUTOFFS = (5, 10, 20, 50)
"""Cutoffs of every metric unless others are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured, a value a user, and how.

    Attributes:
        protocol: how.
        users: (N,) int64 rows of the users who have held-out items, ascending.
        values: (N,) float64 for each metric and cutoff, such as ``"Recall@20"``.
    """

    protocol: EvaluationProtocol
    users: Int[Tensor, " N"]
    values: dict[str, Float[Tensor, " N"]]

    def means(self) -> dict[str, float]:
        """The mean over users of everything measured."""
        return {name: values.mean().item() for name, values in self.values.items()}

    def summary(self) -> dict[str, Any]:
        """What may be told of it: how it was measured, how many users, the means; for JSON."""
        return {
            "protocol": self.protocol.to_dict(),
            "protocol_hash": self.protocol.hash,
            "users": len(self.users),
            "metrics": self.means(),
        }


def evaluate(
    scorer: Scorer,
    prepared: Prepared,
    *,
    part: Part,
    protocol: EvaluationProtocol | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
    metrics: Sequence[str] = tuple(METRICS),
    users_per_chunk: int = 512,
    items_per_block: int = 8192,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank the whole catalogue for every user who has items in ``part``.

    Args:
        scorer: what is evaluated.
        prepared: the dataset under its split.
        part: ``valid`` or ``test``.
        protocol: how; the standard one if None.
        cutoffs: k of every metric.
        metrics: names, see `fuserec.metrics.METRICS`.
        users_per_chunk: B, rows of scores held at a time.
        items_per_block: J, columns of scores held at a time.
        progress: told of every chunk.

    Raises:
        ProtocolError: the protocol is of another part or split.
        ConfigError: see `evaluate_pairs`.
        TrainingError: see `evaluate_pairs`.
    """
    if protocol is None:
        protocol = EvaluationProtocol.standard(prepared, part)
    if (protocol.part, protocol.split_hash) != (part, prepared.split_hash):
        raise ProtocolError(
            f"expected a protocol for {part} of split {prepared.split_hash[:12]}, "
            f"got one for {protocol.part} of split {protocol.split_hash[:12]}"
        )
    known = {"train": prepared.corpus.train, "valid": prepared.valid}
    return evaluate_pairs(
        scorer,
        prepared.corpus,
        prepared.valid if part == "valid" else prepared.test,
        masked={name: known[name] for name in protocol.masked_parts},
        recent=prepared.valid if protocol.history == "train+valid" else None,
        protocol=protocol,
        cutoffs=cutoffs,
        metrics=metrics,
        users_per_chunk=users_per_chunk,
        items_per_block=items_per_block,
        progress=progress,
    )


def evaluate_pairs(
    scorer: Scorer,
    corpus: Corpus,
    truth: Pairs,
    *,
    masked: Mapping[str, Pairs],
    protocol: EvaluationProtocol,
    recent: Pairs | None = None,
    by_history: bool = False,
    cutoffs: Sequence[int] = CUTOFFS,
    metrics: Sequence[str] = tuple(METRICS),
    users_per_chunk: int = 512,
    items_per_block: int = 8192,
    progress: Progress | None = None,
) -> Evaluation:
    """`evaluate` for who holds only some of the data, such as the training loop.

    Args:
        scorer: what is evaluated.
        corpus: what it was trained on.
        truth: held-out pairs; a pair that stands there twice counts once.
        masked: the pairs to mask, by part; exactly the parts that the protocol names.
        protocol: how.
        recent: pairs that a query is told after the training pairs; given if and only if the protocol's history has them.
        by_history: serve every user as one unseen in training, by what is told of them alone.
        cutoffs: k of every metric.
        metrics: names, see `fuserec.metrics.METRICS`.
        users_per_chunk: B, rows of scores held at a time.
        items_per_block: J, columns of scores held at a time.
        progress: told of every chunk.

    Raises:
        ConfigError: a cutoff or a metric is not known, the masked parts are not the protocol's, or there is
            no truth.
        TrainingError: the scorer was made for another catalogue, or gives NaN.
    """
    if set(masked) != set(protocol.masked_parts):
        raise ConfigError(
            f"expected to mask {list(protocol.masked_parts)}, as the protocol says, got {list(masked)}"
        )
    if (recent is not None) != (protocol.history == "train+valid"):
        raise ConfigError(
            f"expected what the protocol tells of a user, {protocol.history}, got "
            f"{'the training pairs alone' if recent is None else 'further pairs'}"
        )
    if not cutoffs or min(cutoffs) < 1 or max(cutoffs) > (protocol.retrieved or max(cutoffs)):
        raise ConfigError(
            f"expected cutoffs from 1 up to {protocol.retrieved or 'any k'}, got {list(cutoffs)}"
        )
    if min(users_per_chunk, items_per_block) < 1:
        raise ConfigError(
            f"expected at least one user and item at a time, got {users_per_chunk} and {items_per_block}"
        )
    if len(truth) == 0:
        raise ConfigError(f"expected held-out pairs in {protocol.part}, got none; nothing can be measured")
    if scorer.num_items != corpus.num_items:
        raise TrainingError(
            f"expected scores of {corpus.num_items} items, but {scorer.kind} has {scorer.num_items}; "
            "train it on this dataset"
        )
    functions = {name: protocol.metric(name) for name in metrics}
    num_users, progress = corpus.num_users, progress or Silent()
    trained = Histories.of(corpus.train, num_users=num_users).lengths > 0
    histories = Histories.of(
        corpus.train if recent is None else _joined([corpus.train, recent]), num_users=num_users
    )
    seen = Histories.of(_joined(list(masked.values())), num_users=num_users)
    wanted = Histories.of(truth.distinct(num_items=corpus.num_items), num_users=num_users)
    users = wanted.lengths.nonzero().squeeze(1)

    progress.start(len(users), f"evaluating {protocol.part}")
    parts: dict[str, list[Tensor]] = {f"{name}@{k}": [] for name in metrics for k in cutoffs}
    for rows in users.split(users_per_chunk):
        told = histories.select(rows)
        ranked = rank(
            scorer,
            # who has no training item was not seen in training: a vector of theirs is as it was drawn
            Queries(users=torch.where(trained[rows] & (not by_history), rows, -1), histories=told),
            truth=wanted.select(rows),
            masked=seen.select(rows),
            depth=max(*cutoffs, protocol.retrieved or 1),
            ties=protocol.ties,
            items_per_block=items_per_block,
        )
        for name, function in functions.items():
            for k in cutoffs:
                parts[f"{name}@{k}"].append(function(ranked, k))
        progress.step(len(rows))
    progress.done()
    return Evaluation(
        protocol=protocol, users=users, values={name: torch.cat(values) for name, values in parts.items()}
    )


@torch.no_grad()
def rank(
    scorer: Scorer,
    queries: Queries,
    *,
    truth: Histories,
    masked: Histories,
    depth: int,
    ties: Ties,
    items_per_block: int,
) -> RankedRelevance:
    """Where the truth of each query stands in its ranking of the catalogue.

    Args:
        scorer: gives the scores.
        queries: B of them.
        truth: B rows of relevant items, each item once, at least one a row.
        masked: B rows of items that are no candidates.
        depth: K, ranks to look at.
        ties: see `EvaluationProtocol`.
        items_per_block: J, columns of scores held at a time.

    Raises:
        TrainingError: a score is NaN.
    """
    rows = truth.rows()
    truth_scores = torch.full((len(rows),), -torch.inf)
    blocks = _masked_blocks(scorer, queries, masked, truth, truth_scores, items_per_block)
    if ties == "expectation":
        values, last_group = top_values(blocks, depth)
        _refuse_nan(scorer, queries, values)
        return RankedRelevance.from_top(
            values.cpu(),
            last_group.cpu(),
            relevant_rows=rows,
            relevant_scores=truth_scores,
            num_relevant=truth.lengths,
        )
    values, columns = topk(blocks, depth)
    _refuse_nan(scorer, queries, values)
    keys = torch.arange(len(queries))[:, None] * scorer.num_items + columns.cpu()
    hits = torch.isin(keys, rows * scorer.num_items + truth.items) & (columns.cpu() >= 0)
    return RankedRelevance.from_list(hits, truth.lengths)


def _masked_blocks(
    scorer: Scorer,
    queries: Queries,
    masked: Histories,
    truth: Histories,
    truth_scores: Float[Tensor, " P"],
    items_per_block: int,
) -> Iterator[Float[Tensor, "B J"]]:
    """Blocks of scores with -inf where masked; the truth's scores are noted in passing.

    A block is masked where it stands, since copying it would cost more than all the metrics. It may be a
    view of what the scorer keeps, so it is put right again when the next one is asked for.
    """
    for start in range(0, scorer.num_items, items_per_block):
        stop = min(start + items_per_block, scorer.num_items)
        scores = scorer.scores(queries, slice(start, stop))
        if scores.shape != (len(queries), stop - start):
            raise TrainingError(
                f"expected scores of shape ({len(queries)}, {stop - start}) from {scorer.kind}, "
                f"got {tuple(scores.shape)}"
            )
        if 0 in scores.stride():
            scores = scores.contiguous()  # expanded: many rows in one place
        hidden, _ = _places(masked, start, stop, scores.device)
        original = scores[hidden]
        scores[hidden] = -torch.inf
        relevant, here = _places(truth, start, stop, scores.device)
        truth_scores[here] = scores[relevant].to(truth_scores)
        try:
            yield scores
        finally:
            scores[hidden] = original


def _places(
    histories: Histories, start: int, stop: int, device: torch.device
) -> tuple[tuple[Int[Tensor, " P"], Int[Tensor, " P"]], Bool[Tensor, " T"]]:
    """Row and column, within a block, of the entries it holds, and which entries those are."""
    here = (histories.items >= start) & (histories.items < stop)
    rows, items = histories.rows()[here], histories.items[here] - start
    return (rows.to(device), items.to(device)), here


def _refuse_nan(scorer: Scorer, queries: Queries, values: Float[Tensor, "B K"]) -> None:
    """NaN counts as the greatest value in a top-k, so the first rank shows it wherever it stands."""
    bad = values[:, 0].isnan().nonzero()
    if len(bad) > 0:
        user = int(queries.users[int(bad[0])])
        who = "a user unseen in training" if user < 0 else f"the user in row {user}"
        raise TrainingError(
            f"expected numbers as scores from {scorer.kind}, got NaN for {who}; "
            "look for a loss that grew without bound"
        )


def _joined(parts: list[Pairs]) -> Pairs:
    empty = torch.zeros(0, dtype=torch.int64)
    return Pairs(
        users=torch.cat([empty, *(part.users for part in parts)]),
        items=torch.cat([empty, *(part.items for part in parts)]),
    )
