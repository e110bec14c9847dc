"""The options of TMFUN, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass

from fuserec.errors import ConfigError

__all__ = ["TmfunConfig"]

SCOPES = ("item", "pair", "global")
STEPS = (("late",), ("early",), ("early", "late"), ("early", "multi", "late"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TmfunConfig:
    """Options of TMFUN; "ours" marks a default that no source states."""

    dim: int = 64
    """Width d of every embedding, at least 1 (the line's common setting)."""
    num_layers: int = 2
    """Propagation steps L on the user-item graph, at least 0 (Eq. 5)."""
    item_layers: int = 1
    """Propagation steps on the modality and item graphs, at least 1 (Eq. 4)."""
    num_neighbours: int = 10
    """Neighbours k in the modality graphs, at least 1 (Eq. 2; LATTICE)."""
    frozen_share: float = 0.9
    """lambda: share of the graph of raw features against the learnt one, 0 to 1 (Eq. 2; LATTICE)."""
    directed: bool = False
    """Keep the neighbour graphs directed instead of taking max(S, S^T)."""
    feature_graph_input: str = "feature"
    """What travels on the modality graphs: "feature" or "id" (Eq. 4)."""
    modality_graphs: bool = True
    """False: no modality graphs, H^m := F^m (ablation A1). The item graph is still made of them."""
    steps: tuple[str, ...] = ("early", "multi", "late")
    """Fusion steps: ("late",), ("early",), ("early", "late") or all three (Eq. 6 to 8); without "multi" no item graph (A2),
    without "late" an item is its content alone (A7)."""
    scope: str = "item"
    """Whose query weighs the modalities: each "item" its own, each "pair" of a user and an item (A6), or "global", one
    learnt for all (A5) (Eq. 6)."""
    attention: bool = True
    """False: the early step takes the mean over the modalities present instead of asking (A4)."""
    temperature: float = 0.5
    """Temperature of the contrastive term, above 0 (Eq. 9)."""
    same_above: float = 0.99
    """Pairs of items with a larger cosine are no negatives of each other (Eq. 9)."""
    graph_features: int = 256
    """Leading eigenvectors that stand in for features where a modality has a graph only."""
    modalities: tuple[str, ...] = ()
    """Names of the modalities to use, in this order; empty means all."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (
            ("dim", 1),
            ("num_layers", 0),
            ("item_layers", 1),
            ("num_neighbours", 1),
            ("graph_features", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0.0 <= self.frozen_share <= 1.0:
            raise ConfigError(f"frozen_share must be between 0 and 1, got {self.frozen_share}")
        if not self.temperature > 0.0:
            raise ConfigError(f"temperature must be above 0, got {self.temperature}")
        if self.feature_graph_input not in ("feature", "id"):
            raise ConfigError(
                f"feature_graph_input must be 'feature' or 'id', got {self.feature_graph_input!r}"
            )
        if self.steps not in STEPS:
            known = " or ".join(str(list(steps)) for steps in STEPS)
            raise ConfigError(f"steps must be {known}, got {list(self.steps)}")
        if self.scope not in SCOPES:
            raise ConfigError(
                f"scope must be {', '.join(map(repr, SCOPES[:-1]))} or {SCOPES[-1]!r}, got {self.scope!r}"
            )
        self._check_combinations()
        if len(set(self.modalities)) < len(self.modalities):
            raise ConfigError(f"modalities must name each modality once, got {list(self.modalities)}")

    def _check_combinations(self) -> None:
        """Refuse options of which one would have no effect."""
        if not self.modality_graphs and self.feature_graph_input == "id":
            raise ConfigError(
                "expected feature_graph_input = 'feature' with modality_graphs = false, got 'id', which travels on them"
            )
        if "early" not in self.steps and (self.scope != "item" or not self.attention):
            raise ConfigError(
                f"expected the step 'early' with scope = {self.scope!r} and attention = {str(self.attention).lower()}, "
                f"got {list(self.steps)}, which take the mean of the modalities; leave scope and attention out"
            )
        if "late" not in self.steps and self.scope == "pair":
            raise ConfigError(
                f"expected the step 'late' with scope = 'pair', whose scores have it built in, got {list(self.steps)}"
            )
        if not self.attention and self.scope != "item":
            raise ConfigError(
                f"expected scope = 'item' with attention = false, which asks nothing, got {self.scope!r}"
            )
