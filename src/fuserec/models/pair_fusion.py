"""The scorer of TMFUN's pair scope: what content says of an item depends on who asks.

A score is no inner product of two vectors, so it is served by exact scoring alone. It needs 2M + 2 products of users and
items all the same, and never a vector a pair: attention and the length of what it chose follow from numbers a pair.

Shape legend
    U  trained users   I  items   M  modalities   C  answers: those of the modalities, then the item graph's
    D  width   B  queries   J  items of a block
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from fuserec.batch import Queries
from fuserec.models.fold_in import user_vectors
from fuserec.ops.fusion import SHORTEST
from fuserec.shapes import Bool, Float

__all__ = ["PairFusion"]

PAIRS_IN_CACHE = 2**16
"""Pairs of a query and an item worked on at a time, so that the dozen numbers of each stay close to the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFusion:
    """score = <z_u, z_i> + <z_u, g_ui> / max(norm of g_ui, 1e-8), where a pair chooses its own g_ui.

    Paper: TMFUN Eq. (6) to (8) with the query z_u W_Q1 + z_i W_Q2. With a_uim the weight of modality m and
    b_ui = sigmoid(sum_m a_uim early_i - late_i), g_ui = b_ui sum_m a_uim v_im + (1 - b_ui) h^I_i, and its length is
    sqrt(c^T Gram_i c) with c = (b_ui a_ui1, .., b_ui a_uiM, 1 - b_ui).

    Attributes:
        user: (U, D) z_u of the users seen in training.
        item: (I, D) z_i.
        fold: (I, D) what one item of a history contributes to a new user's z_u.
        foldable: (I,) items that contribute at all.
        keys: (M, I, D) what z_u meets in the logits of the modalities, scaled.
        logits: (M, I) what z_i adds to them, scaled; the lowest number there is where the item lacks m.
        answers: (C, I, D) v_im, then h^I_i; zero where missing.
        early: (M, I) logit of the second step for each v_im, scaled.
        late: (I,) its logit for h^I_i, scaled; minus infinity where that is missing, infinity where every v_im is.
        gram: (C, C, I) inner products of the answers.
    """

    kind: ClassVar[str] = "pair_fusion"

    user: Float[Tensor, "U D"]
    item: Float[Tensor, "I D"]
    fold: Float[Tensor, "I D"]
    foldable: Bool[Tensor, " I"]
    keys: Float[Tensor, "M I D"]
    logits: Float[Tensor, "M I"]
    answers: Float[Tensor, "C I D"]
    early: Float[Tensor, "M I"]
    late: Float[Tensor, " I"]
    gram: Float[Tensor, "C C I"]

    @classmethod
    def of(
        cls,
        *,
        user: Float[Tensor, "U D"],
        item: Float[Tensor, "I D"],
        fold: Float[Tensor, "I D"],
        foldable: Bool[Tensor, " I"],
        keys: Float[Tensor, "M I D"],
        logits: Float[Tensor, "M I"],
        values: Float[Tensor, "M I D"],
        id_feature: Float[Tensor, "I D"],
        question: Float[Tensor, "I D"],
        present: Bool[Tensor, "I M"],
    ) -> PairFusion:
        """Work out what does not depend on the user.

        Args:
            user: see the class.
            item: see the class.
            fold: see the class.
            foldable: see the class.
            keys: h^m W_K W_Q1^T, not scaled.
            logits: <z_i W_Q2, h_i^m W_K>, not scaled.
            values: h^m W_V, zero where an item lacks m.
            id_feature: h^I, zero where it is missing.
            question: z_i W_Q' W_K'^T.
            present: True where an item has m.
        """
        scale = item.shape[1] ** -0.5
        answers = torch.cat([values, id_feature[None]])
        # One missing answer leaves all to the other; where both are, every answer is zero and b means nothing.
        late = ((question * id_feature).sum(1) * scale).masked_fill(~id_feature.any(1), -torch.inf)
        return cls(
            user=user,
            item=item,
            fold=fold,
            foldable=foldable,
            keys=(keys * scale).contiguous(),
            logits=(logits * scale).masked_fill(~present.T, torch.finfo(logits.dtype).min),
            answers=answers,
            early=(question * values).sum(2) * scale,
            late=late.masked_fill(~present.any(1), torch.inf),
            gram=torch.stack([(answers * answer).sum(2) for answer in answers]),
        )

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.item)

    def scores(self, queries: Queries, items: slice) -> Float[Tensor, "B J"]:
        """(B, J), worked out block by block."""
        user_BD = user_vectors(queries, user=self.user, fold=self.fold, foldable=self.foldable)
        scores_BJ = user_BD @ self.item[items].T
        width = max(1, PAIRS_IN_CACHE // max(1, len(user_BD)))
        for start in range(0, scores_BJ.shape[1], width):
            stop = min(start + width, scores_BJ.shape[1])
            block = slice(items.start + start, items.start + stop)
            scores_BJ[:, start:stop] += self.content_scores(user_BD, block)
        return scores_BJ

    def content_scores(self, user: Float[Tensor, "B D"], items: slice) -> Float[Tensor, "B J"]:
        """(B, J) <z_u, g_ui> / max(norm of g_ui, 1e-8) of one block."""
        weights_MBJ = torch.softmax(_products(user, self.keys[:, items]) + self.logits[:, None, items], 0)
        early_BJ = torch.sigmoid((weights_MBJ * self.early[:, None, items]).sum(0) - self.late[items])
        choice_CBJ = torch.cat([weights_MBJ * early_BJ, 1.0 - early_BJ[None]])
        along_BJ = (choice_CBJ * _products(user, self.answers[:, items])).sum(0)
        square_BJ = torch.zeros_like(along_BJ)
        for choice_BJ, gram_CJ in zip(choice_CBJ, self.gram[:, :, items], strict=True):
            square_BJ += choice_BJ * (choice_CBJ * gram_CJ[:, None]).sum(0)
        content_BJ = along_BJ / square_BJ.clamp_min(SHORTEST**2).sqrt()
        # Nothing points along z_u by more than its length, whatever rounding leaves of answers that cancel out.
        most_B1 = torch.linalg.vector_norm(user, dim=1, keepdim=True)
        return torch.clamp(content_BJ, -most_B1, most_B1)

    def tensors(self) -> dict[str, Tensor]:
        """The attributes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> PairFusion:
        """Take back what `tensors` gave."""
        return cls(**tensors)


def _products(user: Float[Tensor, "B D"], vectors: Float[Tensor, "C J D"]) -> Float[Tensor, "C B J"]:
    """(C, B, J) inner products of every user with every vector."""
    return torch.matmul(user, vectors.transpose(1, 2))
