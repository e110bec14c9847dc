"""Texts become rows through a transformer: tokens, the model, one vector from those of all tokens.

Where sentence-transformers left its settings beside a model (pooling, longest text, unit length), the rows are those
that it would give.

Shape legend
    B  texts of a batch   T  tokens of the longest of them   W  width of a row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuserec.content.encoder import Encoded, Problem
from fuserec.content.loading import load_model, load_part, quiet, read_config, transformers_for
from fuserec.content.weights import ModelFiles, read_settings
from fuserec.errors import ConfigError
from fuserec.shapes import Float

__all__ = ["TextEncoder"]

_VERSION = 1
"""Raised when the same model and options give other numbers than before."""

_BATCH_TOKENS = 1024
"""Tokens of a batch, with those that fill it up; measured in docs/how-to/models.md."""

_FALLBACK_LONGEST = 512
"""Tokens of the longest text for a model that tells no limit of its own."""

_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""How sentence-transformers up to version 5 wrote what it calls now by one word."""

_OFFSET_POSITIONS = {"camembert", "data2vec-text", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"}
"""Models that count positions from the one after the padding token's number, so the first ones are never used."""


class TextEncoder:
    """Encodes texts with a transformer whose files are on this machine.

    Args:
        files: the model.
        longest: most tokens of a text, the special ones included; None takes what the model was made for.
        device: where to compute, such as ``cpu`` or ``cuda``.

    Raises:
        ConfigError: the model is none for texts, is pooled in a way that is unknown here, or takes fewer tokens than
            ``longest``.
    """

    def __init__(self, files: ModelFiles, *, longest: int | None = None, device: str = "cpu") -> None:
        self._files = files
        self._device = device
        config = read_config(files)
        self._width = _width(files, config)
        self._pooling, self._normalise = _pooling(files)
        self._longest = _longest(files, config, longest)
        self._lower = bool(_sentence_settings(files).get("do_lower_case"))
        self._prompt = _prompt(files)

    @property
    def name(self) -> str:
        """Of the model."""
        return self._files.name

    @property
    def options(self) -> Mapping[str, Any]:
        """All that decides the numbers. The device does not: it moves the last bits."""
        return {
            "kind": "text",
            "model": self._files.name,
            "revision": self._files.revision,
            "fingerprint": self._files.fingerprint,
            "pooling": self._pooling,
            "normalise": self._normalise,
            "longest": self._longest,
            "version": _VERSION,
        }

    @property
    def width(self) -> int:
        """W."""
        return self._width

    def batches(self, inputs: Sequence[str]) -> list[NDArray[np.int64]]:
        """Texts of about the same length together, the longest first, so that little is filled up.

        Raises:
            ConfigError: the tokenizer cannot be loaded.
            MissingExtraError: transformers is not installed.
        """
        lengths = np.minimum([max(1, count) for count in self._count(inputs)], self._longest)
        order = np.argsort(-lengths, kind="stable")
        batches: list[NDArray[np.int64]] = []
        start = 0
        while start < len(order):
            size = max(1, _BATCH_TOKENS // int(lengths[order[start]]))
            batches.append(order[start : start + size])
            start += size
        return batches

    def encode(self, inputs: Sequence[str]) -> Encoded:
        """Encode a batch of texts.

        Raises:
            ConfigError: the model cannot be loaded.
            MissingExtraError: transformers is not installed.
        """
        if not inputs:
            return Encoded(rows=np.zeros((0, self.width), dtype=np.float32))
        with quiet():
            batch = self._tokenizer(
                self._plain(inputs),
                truncation=True,
                max_length=self._longest,
                padding=True,
                return_tensors="pt",
            )
        given = batch["attention_mask"].bool()
        rows = self._rows(batch, given)
        problems: list[Problem] = []
        # Only what fills the whole length can have been longer.
        full = np.flatnonzero(given.sum(dim=1).numpy() >= self._longest)
        for position, tokens in zip(full, self._count([inputs[int(at)] for at in full]), strict=True):
            if tokens > self._longest:
                message = f"cut from {tokens:,} to {self._longest:,} tokens"
                problems.append(Problem(position=int(position), kind="cut", message=message, lost=False))
        wrong = ~np.isfinite(rows).all(axis=1) | ~given.any(dim=1).numpy()
        rows[wrong] = 0
        for position in np.flatnonzero(wrong):
            has_tokens = bool(given[position].any())
            kind, message = (
                ("not finite", "the model gave numbers that are not finite")
                if has_tokens
                else ("empty", "the text has no token")
            )
            problems.append(Problem(position=int(position), kind=kind, message=message, lost=True))
        return Encoded(rows=rows, problems=tuple(sorted(problems, key=lambda problem: problem.position)))

    def _rows(self, batch: Any, given: Any) -> Float[NDArray[np.float32], "B W"]:
        import torch

        from fuserec.content import pooling

        pool = {"mean": pooling.mean, "cls": pooling.first, "max": pooling.maximum}[self._pooling]
        if not given.any():
            return np.zeros((len(given), self.width), dtype=np.float32)
        with torch.inference_mode():
            model = self._model
            tokens = model(
                **{name: value.to(model.device) for name, value in batch.items()}
            ).last_hidden_state
            rows = pool(tokens, given.to(model.device))
            if self._normalise:
                rows = pooling.unit_length(rows)
            return np.array(rows.cpu().numpy(), dtype=np.float32)

    def _count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, uncut, with the special ones."""
        if not texts:
            return []
        with quiet():
            numbers = self._tokenizer(
                self._plain(texts), return_attention_mask=False, return_token_type_ids=False
            )["input_ids"]
        return [len(tokens) for tokens in numbers]

    def _plain(self, texts: Sequence[str]) -> list[str]:
        """The texts as the model was taught to read them."""
        lowered = (text.lower() for text in texts) if self._lower else texts
        return [self._prompt + text for text in lowered]

    @cached_property
    def _tokenizer(self) -> Any:
        auto = transformers_for("text").AutoTokenizer
        if not any((self._files.path / name).is_file() for name in _TOKENIZERS):
            raise ConfigError(
                f"expected a tokenizer beside the model {self._files.name} in {self._files.path} "
                f"({', '.join(_TOKENIZERS)}), found none; is it a model for pictures?"
            )
        tokenizer = load_part(auto, self._files, "tokenizer", padding_side="right", truncation_side="right")
        if tokenizer.pad_token_id is None:
            raise ConfigError(f"expected a model whose tokenizer has a padding token, {self.name} has none")
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        # The pooler makes something of the first token for the task that the model was trained on.
        return load_model(self._files, extra="text", device=self._device, unused=("pooler.",))


_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def _width(files: ModelFiles, config: Mapping[str, Any]) -> int:
    if config.get("is_encoder_decoder"):
        raise ConfigError(f"expected a model that only encodes, {files.name} also decodes; choose another")
    # DistilBERT calls it dim, and some others d_model.
    for key in ("hidden_size", "dim", "d_model"):
        if isinstance(config.get(key), int):
            return int(config[key])
    raise ConfigError(
        f"expected a model for texts, but {files.path / 'config.json'} tells no hidden_size; is {files.name} "
        "a model for pictures?"
    )


def _pooling(files: ModelFiles) -> tuple[str, bool]:
    """How the tokens of a text become one vector, and whether that gets unit length; mean and yes where none tells."""
    if not files.parts:
        return "mean", True
    kinds, paths = [kind for kind, _ in files.parts], [path for _, path in files.parts]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or paths[0]:
        raise ConfigError(
            f"expected a model of Transformer, Pooling and perhaps Normalize, {files.name} is of {', '.join(kinds)} "
            "(modules.json); choose another"
        )
    settings = read_settings(files.path / paths[1] / "config.json", default={})
    given = settings.get("pooling_mode", [mode for key, mode in _MODES.items() if settings.get(key)])
    modes = [given] if isinstance(given, str) else list(given)
    if len(modes) != 1 or modes[0] not in {"mean", "cls", "max"}:
        raise ConfigError(
            f"expected a model that is pooled by mean, cls or max, {files.name} is pooled by "
            f"{', '.join(map(str, modes)) or 'nothing'}; choose another"
        )
    return modes[0], len(kinds) == 3


def _longest(files: ModelFiles, config: Mapping[str, Any], wanted: int | None) -> int:
    """Most tokens of a text.

    Raises:
        ConfigError: ``wanted`` is more than the model takes, or leaves no room for a token.
    """
    limits = []
    if isinstance(positions := config.get("max_position_embeddings"), int):
        offset = config.get("model_type") in _OFFSET_POSITIONS
        limits.append(positions - (int(config.get("pad_token_id") or 0) + 1 if offset else 0))
    told = read_settings(files.path / "tokenizer_config.json", default={}).get("model_max_length")
    # Tokenizers without a limit tell a number of thirty digits.
    if isinstance(told, int) and told < 1 << 31:
        limits.append(told)
    most = min(limits, default=_FALLBACK_LONGEST)
    if wanted is None:
        made_for = _sentence_settings(files).get("max_seq_length")
        return min(made_for, most) if isinstance(made_for, int) else most
    if not 3 <= wanted <= most:
        raise ConfigError(f"expected at least 3 and at most {most} tokens for {files.name}, got {wanted}")
    return wanted


def _sentence_settings(files: ModelFiles) -> dict[str, Any]:
    settings: dict[str, Any] = read_settings(files.path / "sentence_bert_config.json", default={})
    return settings


def _prompt(files: ModelFiles) -> str:
    """What stands before every text, for models that were taught so."""
    settings = read_settings(files.path / "config_sentence_transformers.json", default={})
    return str((settings.get("prompts") or {}).get(settings.get("default_prompt_name"), ""))
