"""What a new user loses: the same users served as trained ones, and as ones never seen in training.

Three systems are measured on a drawn share of the users, each told what the recipe's evaluation tells of them:

    trained  trained on everybody; these users have vectors of their own (where the model has such)
    folded   the same model, but these users are served by their histories alone
    new      trained on the others only; these users are served by their histories alone

folded against trained is what serving from a history costs, new against folded what the missing data costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fuserec.batch import Pairs, Prepared
from fuserec.errors import ConfigError, DataError
from fuserec.files import hash_json
from fuserec.models.protocol import Scorer
from fuserec.shapes import Int
from fuserec.training.checkpoint import Run
from fuserec.training.config import Recipe
from fuserec.training.evaluate import Evaluation, evaluate_pairs
from fuserec.training.evaluation_protocol import EvaluationProtocol, Part
from fuserec.training.progress import Progress
from fuserec.training.results import write_outcome
from fuserec.training.run import fit
from fuserec.training.statistics import Comparison, compare
from fuserec.training.sweep import note_reading

__all__ = ["FoldIn", "draw_users", "measure_fold_in", "new_fold_in", "store_fold_in", "without_users"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldIn:
    """What was measured.

    Attributes:
        users: (N,) rows of the users drawn.
        share: of the users, that was asked for.
        draw: seed of the draw.
        evaluations: ``trained``, ``folded`` and ``new``, on those of them who have held-out items.
    """

    users: Int[Tensor, " N"]
    share: float
    draw: int
    evaluations: Mapping[str, Evaluation]

    def losses(self, metric: str) -> dict[str, Comparison]:
        """Each way of serving by history against ``trained``, with a paired interval."""
        trained = self.evaluations["trained"]
        return {name: compare(self.evaluations[name], trained, metric) for name in ("folded", "new")}

    def summary(self, metrics: Sequence[str]) -> dict[str, Any]:
        """What may be told of it, for JSON: sizes, means, differences with their intervals; nobody's values."""
        return {
            "share": self.share,
            "draw": self.draw,
            "users_left_out": len(self.users),
            "evaluations": {name: found.summary() for name, found in self.evaluations.items()},
            "against_trained": {
                metric: {name: asdict(lost) for name, lost in self.losses(metric).items()}
                for metric in metrics
            },
        }


def draw_users(prepared: Prepared, *, share: float, seed: int) -> Int[Tensor, " N"]:
    """(N,) ascending rows of a share of the users who have training items.

    Raises:
        ConfigError: the share is not between 0 and 1, or leaves nobody on one side.
    """
    known = prepared.corpus.train.users.unique()
    count = round(share * len(known)) if 0.0 < share < 1.0 else 0
    if not 0 < count < len(known):
        raise ConfigError(
            f"expected a share that leaves somebody of {len(known)} users on both sides, got {share}"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn: Tensor = known[torch.randperm(len(known), generator=generator)[:count]]
    return drawn.sort().values


def without_users(prepared: Prepared, users: Int[Tensor, " N"]) -> Prepared:
    """The same dataset, catalogue and user rows, but not a pair of these users in any part."""
    corpus = replace(prepared.corpus, train=_pairs(prepared.corpus.train, users, theirs=False))
    return replace(
        prepared,
        corpus=corpus,
        valid=_pairs(prepared.valid, users, theirs=False),
        test=_pairs(prepared.test, users, theirs=False),
        split_hash=hash_json({"split": prepared.split_hash, "without_users": users.tolist()}),
    )


def measure_fold_in(
    recipe: Recipe,
    prepared: Prepared,
    *,
    trained: Scorer | None = None,
    share: float = 0.1,
    seed: int = 0,
    part: Part = "valid",
    progress: Progress | None = None,
) -> FoldIn:
    """Fit a recipe without a share of the users, and serve them.

    Args:
        recipe: what to fit; its seed is that of the training.
        prepared: the dataset under the recipe's split.
        trained: the recipe fitted on everybody; None fits it here.
        share: of the users with training items, left out.
        seed: of the draw.
        part: which held-out items of theirs are the truth.
        progress: who watches.

    Raises:
        ConfigError: the share leaves nobody, or those drawn have no held-out item.
        TrainingError: training cannot go on.
    """
    users = draw_users(prepared, share=share, seed=seed)
    rest = without_users(prepared, users)
    trained = trained or fit(recipe, prepared, progress=progress).scorer
    new = fit(recipe, rest, progress=progress).scorer
    protocol = EvaluationProtocol.standard(prepared, part, history=recipe.evaluation.history)
    known = {"train": prepared.corpus.train, "valid": prepared.valid}
    truth = _pairs(prepared.valid if part == "valid" else prepared.test, users, theirs=True)
    evaluations = {
        name: evaluate_pairs(
            scorer,
            prepared.corpus,
            truth,
            masked={masked: known[masked] for masked in protocol.masked_parts},
            protocol=protocol,
            recent=prepared.valid if protocol.history == "train+valid" else None,
            by_history=by_history,
            cutoffs=recipe.evaluation.cutoffs,
        )
        for name, scorer, by_history in (
            ("trained", trained, False),
            ("folded", trained, True),
            ("new", new, True),
        )
    }
    return FoldIn(users=users, share=share, draw=seed, evaluations=evaluations)


def new_fold_in(results: Path, run: Run) -> Path:
    """Where the outcome for a run will stand; asked for before the measuring, which takes a training.

    Raises:
        DataError: there is one already.
    """
    path = Path(results) / f"fold-in-{run.recipe.hash[:12]}-{run.recipe.seed}.json"
    if path.exists():
        raise DataError(f"expected no outcome yet, but {path} exists; move it away to measure again")
    return path


def store_fold_in(results: Path, run: Run, measured: FoldIn, *, metrics: Sequence[str]) -> Path:
    """Keep what was measured as ``fold-in-<recipe hash>-<seed>.json``, and note readings of the test part.

    Args:
        results: folder of an experiment's results; the ledger is beside it.
        run: the one that was trained on everybody.
        measured: the outcome.
        metrics: those whose differences are kept.

    Raises:
        DataError: there is such a file already, or it cannot be written.
    """
    path = new_fold_in(results, run)
    for name, evaluation in measured.evaluations.items():
        if evaluation.protocol.part == "test":
            whom = f"fold-in: {name}, {len(measured.users)} users left out (share {measured.share}, draw {measured.draw})"
            note_reading(Path(results), run, evaluation, note=whom)
    write_outcome(
        path, run.recipe, provenance=run.provenance, measured={"fold_in": measured.summary(metrics)}
    )
    return path


def _pairs(pairs: Pairs, users: Int[Tensor, " N"], *, theirs: bool) -> Pairs:
    kept = torch.isin(pairs.users, users) == theirs
    return Pairs(users=pairs.users[kept], items=pairs.items[kept])
