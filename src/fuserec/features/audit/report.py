"""An audit from start to end: a dataset, maybe a run, and everything that is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuserec.batch import Prepared
from fuserec.data.dataset import Dataset
from fuserec.errors import ConfigError, DataError
from fuserec.features.audit import words
from fuserec.features.audit.measure import Audit, audit
from fuserec.features.audit.story import tell
from fuserec.features.worth import AsItStands, Worth, measure_worth
from fuserec.training.checkpoint import Run
from fuserec.training.progress import Progress, Silent

__all__ = ["Report", "RunWorth", "check_page", "make_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWorth:
    """What a run draws from each modality.

    Attributes:
        run: the run.
        standing: as it is.
        found: modality by modality.
    """

    run: Run
    standing: AsItStands
    found: Sequence[Worth]

    @property
    def metrics(self) -> list[str]:
        """Those that were compared."""
        return [metric for metric in self.standing.evaluation.values if metric in self._compared()]

    def _compared(self) -> Mapping[str, Any]:
        return next((found for one in self.found for found in one.comparisons.values()), {})

    @property
    def title(self) -> str:
        """Over its table: who was measured, and whether it is what it was."""
        means = self.standing.evaluation.means()
        figures = ", ".join(f"{metric} {means[metric]:.4f}" for metric in self.metrics) or "no modality used"
        deviation = self.standing.deviation
        same = (
            "reproduced" if deviation == 0 else f"a figure is off by {deviation:.2g} from what the run stored"
        )
        return (
            f"{self.run.recipe.name}, valid, {len(self.standing.evaluation.users)} users: {figures} ({same})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found.

    Attributes:
        dataset: what was looked at.
        prepared: the same under one split.
        audits: of its modalities.
        worth: of them to a run; None where none was given.
        seed: of the controls.
    """

    dataset: Dataset
    prepared: Prepared
    audits: Sequence[Audit]
    worth: RunWorth | None
    seed: int

    @property
    def title(self) -> str:
        """Over the table."""
        marks = []
        if self.dataset.manifest.synthetic:
            marks.append("synthetic data")
        if self.dataset.manifest.shuffle_seed is not None:
            marks.append("shuffled content")
        return f"{self.dataset.path.name}, training events of {self.prepared.split}" + (
            f" ({', '.join(marks)})" if marks else ""
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        worth = self.worth
        return {
            "dataset": str(self.dataset.path),
            "dataset_hash": self.dataset.manifest_hash,
            "synthetic": self.dataset.manifest.synthetic,
            "shuffle_seed": self.dataset.manifest.shuffle_seed,
            "split": self.prepared.split,
            "seed": self.seed,
            "modalities": words.as_json(self.dataset, self.audits),
            "run": None
            if worth is None
            else {"path": str(worth.run.path), **words.worth_json(worth.standing, worth.found)},
        }

    def page(self, images: Path | None) -> str:
        """The page as HTML.

        Args:
            images: folder of the pictures; None shows titles in their place.

        Raises:
            DataError: the folder is missing or cannot be read.
        """
        worth = self.worth
        return tell(
            self.dataset,
            self.prepared,
            self.audits,
            images=images,
            worth=() if worth is None else worth.found,
            metrics=() if worth is None else worth.metrics,
            run="" if worth is None else worth.title,
        )


def make_report(
    dataset: Dataset,
    split: str | None = None,
    *,
    run: Run | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Look at every modality, and at what a run draws from it.

    Args:
        dataset: nothing in it changes.
        split: whose training events count; None takes the run's, or the only one.
        run: a finished run of that split.
        seed: of the controls.
        progress: who watches.

    Raises:
        ConfigError: there is no such split, or it is not the run's; or the seed is below 0.
        DataError: the dataset has no modality, or no training event.
        CheckpointError: the run was trained on other data, or cannot be built again.
    """
    progress = progress or Silent()
    if run is not None and split not in (None, run.recipe.split):
        raise ConfigError(
            f"expected the split {run.recipe.split!r} that {run.path} was trained on, got {split!r}; leave --split out"
        )
    prepared = dataset.prepare(split if run is None else run.recipe.split)
    audits = audit(prepared.corpus, seed=seed)
    worth = None
    if run is not None:
        standing, found = measure_worth(run, prepared, seed=seed, progress=progress)
        worth = RunWorth(run=run, standing=standing, found=found)
    return Report(dataset=dataset, prepared=prepared, audits=audits, worth=worth, seed=seed)


def check_page(page: Path, *, overwrite: bool) -> None:
    """Refuse early a place that cannot be written later.

    Raises:
        ConfigError: its name does not end in .html.
        DataError: something stands there that may not be replaced, or its folder does not exist.
    """
    if page.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"expected a page ending in .html, got {page}")
    if page.is_dir() or (page.exists() and not overwrite):
        raise DataError(f"expected a new file, but {page} exists; choose another or pass --overwrite")
    if not page.parent.is_dir():
        raise DataError(f"expected {page.parent} to be a folder, but it is none; make it first")
