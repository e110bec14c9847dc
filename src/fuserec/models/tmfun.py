"""TMFUN: attention-guided multi-step fusion of interactions and multimodal content.

"Attention-guided Multi-step Fusion: A Hierarchical Fusion Network for Multimodal Recommendation", Y. Zhou,
J. Guo, H. Sun, B. Song, F. R. Yu. SIGIR 2023, arXiv 2304.11979, DOI 10.1145/3539618.3591950.

The paper's full text was not available to us. docs/papers/tmfun.md says what it states, which equations we
build (their numbers are ours), which function and test hold each, and which choices are our own.

Shape legend
    U  users   I  items   M  modalities   D  width   B  rows of a batch   C  its pairs: positives, then negatives
"""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuserec.batch import Corpus, PairBatch
from fuserec.losses import bpr, info_nce
from fuserec.models.modalities import choose
from fuserec.models.modality_graph import ModalityGraph
from fuserec.models.pair_fusion import PairFusion
from fuserec.models.tmfun_config import TmfunConfig
from fuserec.models.two_tower import TwoTower
from fuserec.nn import Collaborative, xavier_uniform
from fuserec.ops.fusion import attend, unit_or_zero
from fuserec.ops.graph import mixed_propagate
from fuserec.shapes import Bool, Float, Int

__all__ = ["Tmfun"]


class Tmfun(nn.Module):
    """Fuses an item's content in steps that attention leads; Eq. (1) to (10).

    In item scope a score is one inner product; in pair scope an item has another vector for every user.

    Args:
        config: options.
        corpus: training interactions and at least one modality.
        generator: draws the initial weights.

    Raises:
        ConfigError: a named modality is unknown, or there is none at all.
    """

    def __init__(self, config: TmfunConfig, corpus: Corpus, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.collaborative = Collaborative(
            corpus, dim=config.dim, num_layers=config.num_layers, generator=generator
        )
        chosen = choose(corpus, config.modalities)
        self.modalities = nn.ModuleDict(
            # a bare name such as "type" would hide a method of nn.Module, which torch refuses
            {f"{each.name}_graph": ModalityGraph(config, each, generator=generator) for each in chosen}
        )
        self.register_buffer(
            "present_IM", torch.stack([modality.present for modality in chosen], 1), persistent=False
        )
        self.graph_logits_M = nn.Parameter(torch.zeros(len(chosen)))
        # W_Q, W_K, W_V of Eq. (6); W_Q', W_K' of Eq. (7)
        self.early_query, self.early_key, self.early_value, self.multi_query, self.multi_key = (
            xavier_uniform(config.dim, config.dim, generator=generator) for _ in range(5)
        )
        if config.scope == "pair":  # W_Q1; early_query is W_Q2
            self.early_user_query = xavier_uniform(config.dim, config.dim, generator=generator)
        if config.scope == "global":
            self.global_query = xavier_uniform(1, config.dim, generator=generator)
        self.begin_epoch()

    present_IM: Bool[Tensor, "I M"]
    cold: Int[Tensor, " C"]

    def begin_epoch(self) -> None:
        """Rebuild the learnt part of every modality graph (Eq. 2)."""
        for graph in self._graphs():
            graph.rebuild()

    def _graphs(self) -> list[ModalityGraph]:
        return list(self.modalities.values())  # type: ignore[arg-type]

    def modality_weights(self, present: Bool[Tensor, "B M"]) -> Float[Tensor, "B M"]:
        """softmax(w), renormalised over the modalities an item has; zeros where it has none. Eq. (3)."""
        weights_BM = torch.softmax(self.graph_logits_M, 0) * present
        return weights_BM / weights_BM.sum(1, keepdim=True).clamp_min(torch.finfo(weights_BM.dtype).tiny)

    def item_graph(self, x: Float[Tensor, "I D"], rows: Int[Tensor, " B"] | None = None) -> Tensor:
        """A^I x, of all items or of the given rows, without ever forming A^I. Eq. (3).

        Args:
            x: (I, D) what travels.
            rows: (B,) items wanted, each once; None for all.

        Returns:
            (B, D): each modality graph's answer, weighted by the item's own weights.
        """
        if rows is None:
            rows = torch.arange(len(x), device=x.device)
        graphs = tuple(graph.adjacency.matrix for graph in self._graphs())
        return mixed_propagate(graphs, x, self.modality_weights(self.present_IM[rows]), rows)

    def warm_ids(self) -> Float[Tensor, "I D"]:
        """E_I, zero for cold items: their embeddings were never trained."""
        return self.collaborative.without_cold(self.collaborative.item)

    def id_features(self, rows: Int[Tensor, " B"] | None = None) -> Tensor:
        """H^I = A^I E_I from warm columns only, (B, D) for the given rows or all. Eq. (4)."""
        x = self.warm_ids()
        for _ in range(self.config.item_layers - 1):
            x = self.item_graph(x)
        return self.item_graph(x, rows)

    def item_graph_answers(self, rows: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """H^I of the given items, or zeros, which say that it is missing, where no step wants it. Eq. (7)."""
        if "multi" in self.config.steps:
            return self.id_features(rows)
        return self.collaborative.item.new_zeros(len(rows), self.config.dim)

    def modality_features(self, rows: Int[Tensor, " B"]) -> Float[Tensor, "M B D"]:
        """H^m of the given items, zero where an item lacks m. Eq. (4)."""
        return torch.stack([graph.features_of(rows, ids=self.warm_ids) for graph in self._graphs()])

    def early_fusion(
        self,
        z: Float[Tensor, "B D"],
        h: Float[Tensor, "M B D"],
        present: Bool[Tensor, "B M"],
        *,
        user: Float[Tensor, "B D"] | None = None,
    ) -> Float[Tensor, "B D"]:
        """e: the interaction data asks, the multimodal data answers. Eq. (6).

        <z W_Q, h W_K> is <z (W_Q W_K^T), h>, and sum_m a_m (h_m W_V) is (sum_m a_m h_m) W_V: the weights meet
        each other first, so no modality is multiplied by a matrix of its own.
        """
        if not self.config.attention:
            return _mean_of_present(h, present) @ self.early_value
        question = self.early_question(z)
        if user is not None:
            question = question + user @ (self.early_user_query @ self.early_key.T)
        return attend(question, h, present) @ self.early_value

    def early_question(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """The early step's query but for the user's part, with W_K moved over to it from the features. Eq. (6)."""
        if self.config.scope == "global":
            return (self.global_query @ self.early_key.T).expand_as(z)
        return z @ (self.early_query @ self.early_key.T)

    def multi_step_fusion(
        self,
        z: Float[Tensor, "B D"],
        e: Float[Tensor, "B D"],
        id_feature: Float[Tensor, "B D"],
        available: Bool[Tensor, "B 2"],
    ) -> Float[Tensor, "B D"]:
        """g: a second question chooses between e and the item graph's answer. Eq. (7)."""
        return attend(self.multi_question(z), torch.stack([e, id_feature]), available)

    def multi_question(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """The second step's query, with W_K' moved over to it from the answers. Eq. (7)."""
        return z @ (self.multi_query @ self.multi_key.T)

    def fuse(
        self,
        z: Float[Tensor, "B D"],
        h: Float[Tensor, "M B D"],
        id_feature: Float[Tensor, "B D"],
        present: Bool[Tensor, "B M"],
        *,
        user: Float[Tensor, "B D"] | None = None,
    ) -> Float[Tensor, "B D"]:
        """The item vectors after the steps of the config. Eq. (6) to (8).

        Args:
            z: (B, D) collaborative signals of the items.
            h: (M, B, D) what the modality graphs say of them.
            id_feature: (B, D) what the item graph says; zero where it says nothing.
            present: (B, M) modalities that they have.
            user: (B, D) z_u of whom each is meant for; in pair scope alone.
        """
        if self.config.steps == ("late",):
            g = _mean_of_present(h, present)
        else:
            g = self.early_fusion(z, h, present, user=user)
        if "multi" in self.config.steps:
            available_B2 = torch.stack([present.any(1), id_feature.any(1)], 1)
            g = self.multi_step_fusion(z, g, id_feature, available_B2)
        return z + unit_or_zero(g) if "late" in self.config.steps else g

    def contrastive(self, h: Float[Tensor, "M B D"], present: Bool[Tensor, "B M"]) -> Float[Tensor, ""]:
        """Inter-modal InfoNCE, the mean over the pairs of modalities. Eq. (9)."""
        terms = []
        for (one_BD, one_B), (other_BD, other_B) in combinations(zip(h, present.T, strict=True), 2):
            both_B = one_B & other_B
            if not both_B.all():
                both = torch.nonzero(both_B).squeeze(1)
                one_BD, other_BD = F.embedding(both, one_BD), F.embedding(both, other_BD)
            terms.append(
                info_nce(
                    one_BD,
                    other_BD,
                    temperature=self.config.temperature,
                    same_above=self.config.same_above,
                )
            )
        return torch.stack(terms).mean() if terms else h.sum() * 0.0

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr``, ``contrastive`` and ``l2``. Eq. (10)."""
        z_UD, z_ID = self.collaborative()
        items = torch.cat([batch.positives, batch.negatives])
        rows, place, num_positives = _positives_first(batch, len(z_ID))
        present_BM = self.present_IM[rows]
        h_MBD = self.modality_features(rows)
        z_BD, id_BD = F.embedding(rows, z_ID), self.item_graph_answers(rows)
        user_BD = F.embedding(batch.users, z_UD)
        if self.config.scope == "pair":
            item_CD = self.fuse(
                F.embedding(place, z_BD),
                torch.stack([F.embedding(place, h_BD) for h_BD in h_MBD]),
                F.embedding(place, id_BD),
                present_BM[place],
                user=user_BD.repeat(2, 1),
            )
        else:
            item_CD = F.embedding(place, self.fuse(z_BD, h_MBD, id_BD, present_BM))
        positive_BD, negative_BD = item_CD.chunk(2)
        return {
            "bpr": bpr((user_BD * positive_BD).sum(1), (user_BD * negative_BD).sum(1)),
            "contrastive": self.contrastive(h_MBD[:, :num_positives], present_BM[:num_positives]),
            "l2": self.collaborative.l2(batch.users, items),
        }

    @torch.no_grad()
    def scorer(self) -> TwoTower | PairFusion:
        """The model as it stands; cold items and new users by the formulas of the specification."""
        user_UD, z_ID = self.collaborative()
        z_ID = self.with_cold_items(z_ID)
        every = torch.arange(len(z_ID), device=z_ID.device)
        h_MID, id_ID = self.modality_features(every), self.item_graph_answers(every)
        fold_ID, warm_I = self.collaborative.fold(), self.collaborative.warm_I
        if self.config.scope == "pair":
            return PairFusion.of(
                user=user_UD,
                item=z_ID,
                fold=fold_ID,
                foldable=warm_I,
                keys=h_MID @ (self.early_key @ self.early_user_query.T),
                logits=(self.early_question(z_ID) * h_MID).sum(2),
                values=h_MID @ self.early_value,
                id_feature=id_ID,
                question=self.multi_question(z_ID),
                present=self.present_IM,
            )
        item_ID = self.fuse(z_ID, h_MID, id_ID, self.present_IM)
        return TwoTower(user=user_UD, item=item_ID, fold=fold_ID, foldable=warm_I)

    def with_cold_items(self, z: Float[Tensor, "I D"]) -> Float[Tensor, "I D"]:
        """z, with the weighted mean of its warm neighbours in A^I for each item without interactions.

        Zero where it has no such neighbour. Weights below 0 (cosines of opposites in a small catalogue) are left out: a sum
        in which signs cancel is no divisor. Part 2, "Cold items".
        """
        warm_I1 = self.collaborative.warm_I[:, None]
        graphs = tuple(graph.adjacency.matrix.without_negatives() for graph in self._graphs())
        weights_IM = self.modality_weights(self.present_IM)
        every = torch.arange(len(z), device=z.device)
        weight_I1 = mixed_propagate(graphs, warm_I1.to(z.dtype), weights_IM, every)
        total = mixed_propagate(graphs, torch.where(warm_I1, z, 0.0), weights_IM, every)
        mean = total / torch.where(weight_I1 > 0, weight_I1, 1.0)
        return torch.where(warm_I1, z, torch.where(weight_I1 > 0, mean, 0.0))


def _mean_of_present(h: Float[Tensor, "M B D"], present: Bool[Tensor, "B M"]) -> Float[Tensor, "B D"]:
    """The mean over the modalities that an item has; zero where it has none."""
    count_B1 = present.sum(1, keepdim=True).clamp_min(1)
    return (h * present.T[:, :, None]).sum(0) / count_B1


def _positives_first(batch: PairBatch, num_items: int) -> tuple[Int[Tensor, " B"], Int[Tensor, " C"], int]:
    """The distinct items of a batch, those among its positives first, by a table of all items.

    Returns:
        (B,) the items; (C,) the place among them of each positive, then of each negative; how many are positives.
    """
    place_I = batch.positives.new_zeros(num_items)
    place_I[batch.negatives] = 1
    place_I[batch.positives] = 2
    positives = torch.nonzero(place_I == 2).squeeze(1)
    rows = torch.cat([positives, torch.nonzero(place_I == 1).squeeze(1)])
    place_I[rows] = torch.arange(len(rows), device=rows.device)
    return rows, place_I[torch.cat([batch.positives, batch.negatives])], len(positives)
