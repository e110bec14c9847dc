"""Cross-genre alignment: genres that show the same topics in different ways, and titles that do not.

Every item has a topic and a genre. Titles show the topic alike in all genres; an image shows the same in axes that each genre
has turned in a way of its own, so no one map brings the images of all genres to the titles, and one map a genre does. Users like
topics, whatever the genre. Some items of every genre are cold, and only content can say what they are.

Shape legend
    U  users   I  items   G  genres   K  topics   D  width of what an item is about
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fuserec.batch import Corpus
from fuserec.errors import ConfigError
from fuserec.shapes import Float, Int
from fuserec.testing.planted.content import blurred, everywhere, rotations
from fuserec.testing.planted.layout import corpus_of, even_histories

__all__ = ["CrossGenre", "cross_genre"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossGenre:
    """A corpus, and what its items are.

    Attributes:
        corpus: modalities ``title`` and ``image``, and ``category``, which has a column a genre.
        topic: (I,).
        genre: (I,).
        turn: (G, D, D) the rotation in which a genre's images show what the items are about.
    """

    corpus: Corpus
    topic: Int[Tensor, " I"]
    genre: Int[Tensor, " I"]
    turn: Float[Tensor, "G D D"]


def cross_genre(
    num_users: int,
    *,
    generator: torch.Generator,
    topics: int = 16,
    genres: int = 3,
    items_each: int = 6,
    cold_each: int = 1,
    liked: int = 2,
    events: int = 20,
    width: int = 8,
    spread: float = 0.3,
    noise: float = 0.05,
) -> CrossGenre:
    """A corpus of ``topics * genres * items_each`` items.

    Args:
        num_users: U.
        generator: draws everything.
        topics: K.
        genres: G.
        items_each: items of a topic in a genre.
        cold_each: of those, items that nobody has had.
        liked: topics that a user likes; all events are of them, any genre alike.
        events: of each user.
        width: D; titles have twice as many columns.
        spread: of items around their topic, whose own columns are spread by 1.
        noise: added to every column of titles and images.

    Raises:
        ConfigError: no item would be left with interactions, or a user would like more topics than there are.
    """
    if not 0 <= cold_each < items_each:
        raise ConfigError(f"cold_each must be 0 .. {items_each - 1}, got {cold_each}")
    if not 1 <= liked <= topics:
        raise ConfigError(f"liked must be 1 .. {topics}, the topics, got {liked}")
    number = torch.arange(topics * genres * items_each)
    topic, genre = number // (genres * items_each), number // items_each % genres

    centre = torch.randn(topics, width, generator=generator)
    about = centre[topic] + spread * torch.randn(len(number), width, generator=generator)
    title_axes = rotations(1, 2 * width, generator=generator)[0, :, :width]
    turn = rotations(genres, width, generator=generator)
    image = (turn[genre] @ about[:, :, None])[:, :, 0]

    chosen = torch.rand(num_users, topics, generator=generator).argsort(dim=1)[:, :liked]
    of_user = chosen.gather(1, torch.randint(liked, (num_users, events), generator=generator))
    of_genre = torch.randint(genres, of_user.shape, generator=generator)
    # the first items of each topic and genre are the cold ones
    which = torch.randint(cold_each, items_each, of_user.shape, generator=generator)
    items = (of_user * genres + of_genre) * items_each + which
    return CrossGenre(
        corpus=corpus_of(
            even_histories(items),
            len(number),
            (
                everywhere("title", blurred(about @ title_axes.T, noise, generator=generator)),
                everywhere("image", blurred(image, noise, generator=generator)),
                everywhere("category", one_hot(genre, genres).float()),
            ),
        ),
        topic=topic,
        genre=genre,
        turn=turn,
    )
