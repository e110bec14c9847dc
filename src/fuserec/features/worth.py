"""What each modality is worth to a trained run: taken from it, and measured, without training again.

The model of the run is built again on an altered corpus, gets the weights that it had learnt, and ranks the validation
part; closed forms, which have no weights, are fitted again. Three alterations of one modality at a time:

    left out   no item has it: the mask is False everywhere
    zeroed     every item that has it has a row of zeros; a ready graph stays
    shuffled   rows, mask and graph dealt anew among all items

What is lost is what the run, as it stands, draws from the modality. A model trained without it might make up for some of
that from elsewhere, so this is no ablation, and far cheaper than one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from fuserec.batch import Corpus, KnnGraph, Modality, Prepared
from fuserec.data.shuffled import deal, shuffle_graph
from fuserec.errors import CheckpointError, DataError
from fuserec.models.protocol import Scorer
from fuserec.training.checkpoint import Run
from fuserec.training.evaluate import Evaluation, evaluate
from fuserec.training.progress import Progress, Silent
from fuserec.training.rebuild import rebuild
from fuserec.training.run import require_same_data
from fuserec.training.statistics import Comparison, compare

__all__ = ["CHANGES", "AsItStands", "Change", "Worth", "altered", "measure_worth", "rebuilt"]

Change = Literal["left out", "zeroed", "shuffled"]

CHANGES: tuple[Change, ...] = ("left out", "zeroed", "shuffled")

CLOSE = 1e-3
"""A figure of the run built again may differ by so much from the stored one before the dataset is doubted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsItStands:
    """The run built again on the dataset as it is.

    Attributes:
        evaluation: on the validation part.
        stored: means that the run's folder holds.
    """

    evaluation: Evaluation
    stored: Mapping[str, float]

    @property
    def deviation(self) -> float:
        """Largest difference of a mean from the stored one; 0 where the run is reproduced to the bit."""
        means = self.evaluation.means()
        return max(
            (abs(means[name] - self.stored[name]) for name in means if name in self.stored), default=0.0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """One modality of a run, altered.

    Attributes:
        modality: its name.
        used: whether the scorer depends on it at all; if not, there are no comparisons.
        comparisons: each alteration against the run as it stands, for each metric; an alteration that is not possible
            (zeroing a graph) is not there.
    """

    modality: str
    used: bool
    comparisons: Mapping[Change, Mapping[str, Comparison]]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "modality": self.modality,
            "used": self.used,
            "changes": {
                change: {metric: {**asdict(one), "verdict": one.verdict} for metric, one in found.items()}
                for change, found in self.comparisons.items()
            },
        }


def measure_worth(
    run: Run,
    prepared: Prepared,
    *,
    metrics: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[AsItStands, tuple[Worth, ...]]:
    """Alter each modality in each way and measure on validation; the test part is not read.

    Args:
        run: a finished run.
        prepared: the dataset that it was trained on, under its split.
        metrics: to compare, such as ``Recall@20``; none takes Recall and NDCG at 20, or at the run's largest cutoff.
        seed: of the shuffle.
        progress: who watches.

    Raises:
        CheckpointError: the run was trained on other data, its weights are missing or do not fit the dataset, or
            it does not reproduce its stored figures on a dataset that was changed since.
        ConfigError: a metric was not measured, or the seed is below 0.
        DataError: the dataset has no modality.
    """
    require_same_data(run, prepared)
    modalities = prepared.corpus.modalities
    if not modalities:
        raise DataError("expected a dataset with at least one modality, got none; attach features or a graph")
    metrics = _metrics(run, metrics)
    progress = progress or Silent()
    graphs_only = sum(modality.features is None for modality in modalities)
    progress.start(1 + len(CHANGES) * len(modalities) - graphs_only, "altering")
    scorer = rebuilt(run, prepared.corpus)
    standing = AsItStands(evaluation=_validate(run, scorer, prepared), stored=_stored(run))
    _require_reproduced(run, prepared, standing)
    progress.step(1)
    found = []
    for modality in modalities:
        evaluations: dict[Change, Evaluation] = {}
        for change, corpus in altered(prepared.corpus, modality.name, seed=seed):
            try:
                other = rebuilt(run, corpus)
            except DataError:
                # a model that cannot do without the modality: only what other items have can stand in its place
                progress.step(1)
                continue
            same = _same(scorer, other)
            evaluations[change] = standing.evaluation if same else _validate(run, other, prepared)
            progress.step(1)
        used = any(one is not standing.evaluation for one in evaluations.values())
        comparisons = {
            change: {metric: compare(one, standing.evaluation, metric) for metric in metrics}
            for change, one in evaluations.items()
            if used
        }
        found.append(Worth(modality=modality.name, used=used, comparisons=comparisons))
    progress.done()
    return standing, tuple(found)


def rebuilt(run: Run, corpus: Corpus) -> Scorer:
    """The run's model on a corpus: with the weights it has learnt, or fitted again where it is a closed form.

    Raises:
        CheckpointError: the weights are missing, broken, or not those of the model on this corpus.
    """
    return rebuild(run.recipe, corpus, lambda wanted: _weights(run, wanted))


def _weights(run: Run, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the run has learnt, in the names and shapes that are wanted."""
    file, weights = run.path / "model.safetensors", run.weights()
    if not weights:
        raise CheckpointError(f"expected the weights of the run in {file}, got none; train again")
    if _shapes(weights) != _shapes(wanted):
        raise CheckpointError(
            f"expected the weights in {file} to fit {run.recipe.model_name} on the dataset as it is, got others: its "
            "modalities have changed, or an older fuserec trained the run; train again"
        )
    return weights


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def altered(corpus: Corpus, name: str, *, seed: int) -> Iterator[tuple[Change, Corpus]]:
    """The corpus with one modality left out, zeroed (where it has features) and shuffled.

    Args:
        corpus: stays as it is.
        name: of the modality.
        seed: of the shuffle.

    Raises:
        ConfigError: the seed is below 0.
    """
    modality = next(one for one in corpus.modalities if one.name == name)
    yield "left out", _with(corpus, _left_out(modality))
    if modality.features is not None:
        yield "zeroed", _with(corpus, replace(modality, features=torch.zeros_like(modality.features)))
    yield "shuffled", _with(corpus, _shuffled(modality, seed))


def _with(corpus: Corpus, modality: Modality) -> Corpus:
    """The corpus with another modality in the place of the one of that name."""
    modalities = tuple(modality if one.name == modality.name else one for one in corpus.modalities)
    return replace(corpus, modalities=modalities)


def _left_out(modality: Modality) -> Modality:
    features, graph = modality.features, modality.graph
    return replace(
        modality,
        present=torch.zeros_like(modality.present),
        features=None if features is None else torch.zeros_like(features),
        graph=None
        if graph is None
        else KnnGraph(
            neighbours=torch.full_like(graph.neighbours, -1), weights=torch.zeros_like(graph.weights)
        ),
    )


def _shuffled(modality: Modality, seed: int) -> Modality:
    features, graph = modality.features, modality.graph
    dealt = deal(len(modality.present), seed)
    source = torch.from_numpy(dealt)
    if graph is not None:
        moved = shuffle_graph(graph.neighbours.numpy(), graph.weights.numpy(), dealt)
        graph = KnnGraph(
            neighbours=torch.from_numpy(moved.neighbours), weights=torch.from_numpy(moved.weights)
        )
    return replace(
        modality,
        present=modality.present[source],
        features=None if features is None else features[source],
        graph=graph,
    )


def _same(one: Scorer, other: Scorer) -> bool:
    """Whether two scorers are the same to the bit, so that what differs between their corpora plays no part."""
    first, second = one.tensors(), other.tensors()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _validate(run: Run, scorer: Scorer, prepared: Prepared) -> Evaluation:
    return evaluate(scorer, prepared, part="valid", cutoffs=run.recipe.evaluation.cutoffs)


def _metrics(run: Run, asked: Sequence[str]) -> list[str]:
    cutoffs = run.recipe.evaluation.cutoffs
    if asked:
        return list(asked)
    cutoff = 20 if 20 in cutoffs else max(cutoffs)
    return [f"Recall@{cutoff}", f"NDCG@{cutoff}"]


def _stored(run: Run) -> dict[str, float]:
    """The means of the run's validation."""
    summary = run.metrics.get("valid")
    if summary is None:
        raise CheckpointError(
            f"expected validation figures in {run.path}, got none; make them with 'fuserec evaluate'"
        )
    return dict(summary["metrics"])


def _require_reproduced(run: Run, prepared: Prepared, standing: AsItStands) -> None:
    """On the very dataset that the run was trained on, what deviates is the machine, or a graph learnt of the weights."""
    same = run.provenance["dataset_hash"] == prepared.dataset_hash
    if same or standing.deviation <= CLOSE:
        return
    raise CheckpointError(
        f"expected {run.path} to measure what it did after training, but a figure is off by {standing.deviation:.4f}: the "
        "features of the dataset have changed since; train again"
    )
