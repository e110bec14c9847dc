"""Titles and descriptions, from a small grammar over the words of a book's theme and hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fuserec.data.sample.words import ASIDES, HOUR_WORDS, THEME_WORDS, ThemeWords
from fuserec.data.sample.world import HOURS, SERIES_PER_THEME, THEMES, Books, SampleOptions, stream

__all__ = ["Texts", "draw_texts"]

_SHARE_WITHOUT_DESCRIPTION = 0.06
_NUMERALS = ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What stands on a book's back, one entry an item.

    Attributes:
        titles: no two alike.
        descriptions: none to three sentences.
    """

    titles: tuple[str, ...]
    descriptions: tuple[str, ...]


def draw_texts(options: SampleOptions, books: Books) -> Texts:
    """Write the title and the description of every book."""
    titles: list[str] = []
    volumes: dict[str, int] = {}
    descriptions = []
    for row in range(len(books)):
        rng = stream(options, "texts", row)
        theme, hour = THEMES[books.theme[row]], HOURS[books.hour[row]]
        second = THEMES[books.second[row]] if books.second[row] >= 0 else None
        words = _Series.of(THEME_WORDS[theme], int(books.series[row]) % SERIES_PER_THEME)
        title = _title(words, hour, rng)
        volumes[title] = volumes.get(title, 0) + 1
        titles.append(title if volumes[title] == 1 else f"{title}, Book {_roman(volumes[title])}")
        descriptions.append(_description(words, second, hour, rng))
    return Texts(titles=tuple(titles), descriptions=tuple(descriptions))


@dataclass(frozen=True, slots=True)
class _Series:
    """The words of a theme as a series uses them: one hero, mostly with the same thing, place and manner."""

    hero: str
    things: tuple[str, ...]
    places: tuple[str, ...]
    adjectives: tuple[str, ...]
    deeds: tuple[str, ...]

    @classmethod
    def of(cls, words: ThemeWords, which: int) -> _Series:
        def own(choices: tuple[str, ...]) -> tuple[str, ...]:
            favourite = choices[which % len(choices)]
            return (*choices, *[favourite] * len(choices))

        return cls(
            words.heroes[which], own(words.things), own(words.places), own(words.adjectives), words.deeds
        )


def _title(words: _Series, hour: str, rng: np.random.Generator) -> str:
    hero = _capitals(words.hero)
    thing, place, adjective, light = (
        _capitals(_one(part, rng))
        for part in (words.things, words.places, words.adjectives, HOUR_WORDS[hour].names)
    )
    patterns = (
        f"The {adjective} {thing}",
        f"The {hero} of {place}",
        f"The {hero} and the {thing}",
        f"{_article(thing)} {thing} at {light}",
        f"{light} over {place}",
        f"What the {hero} Left in {place}",
        f"{_article(thing)} {thing} for the {hero}",
        f"{_article(thing)} {thing} from {place}",
        f"The {hero} at {light}",
        f"The {adjective} {hero}",
    )
    title = _one(patterns, rng)
    return title[0].upper() + title[1:]


def _description(words: _Series, second: str | None, hour: str, rng: np.random.Generator) -> str:
    if rng.random() < _SHARE_WITHOUT_DESCRIPTION:
        return ""
    adjective, deed, place = (_one(part, rng) for part in (words.adjectives, words.deeds, words.places))
    sentences = [f"{_article(adjective)} {adjective} {words.hero} {deed}, in {place}."]
    if rng.random() < 0.8:
        sentences.append(_one(HOUR_WORDS[hour].sentences, rng))
    if second is not None:
        thing, hero = _one(THEME_WORDS[second].things, rng), _one(THEME_WORDS[second].heroes, rng)
        sentences.append(
            f"There is {_article(thing).lower()} {thing} in it, too, and {_article(hero).lower()} {hero}."
        )
    elif rng.random() < 0.35:
        sentences.append(_one(ASIDES, rng))
    return " ".join(sentences)


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _article(word: str) -> str:
    """The indefinite article, capitalised; the words of the shop are all sounded as they are spelt."""
    return "An" if word[0].lower() in "aeiou" else "A"


def _capitals(words: str) -> str:
    """Words as in a title: small ones stay small."""
    small = {"a", "in", "the", "of", "at"}
    return " ".join(word if word in small else word[0].upper() + word[1:] for word in words.split(" "))


def _roman(number: int) -> str:
    text = ""
    for value, numeral in _NUMERALS:
        while number >= value:
            text += numeral
            number -= value
    return text
