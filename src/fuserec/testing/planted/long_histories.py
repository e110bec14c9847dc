"""Long histories whose interests come at three scales, each known.

Runs of a few events follow one order of an interest's items; sessions of some tens keep to one interest; and some sessions are an
old one over again, item by item, from a known number of events back, which may be thousands. Interests and items have
popularities of their own (Zipf), and everything is drawn at once for all users, without a loop over events.

Inside a run the item before tells the item (``follows``). Where a run begins inside a repeated session, only the old session
tells it (``told``): what is like the present lies one distance back, and the item there is the item here.

Shape legend
    U  users   I  items   T  events of all   S  sessions of all
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuserec.batch import Histories
from fuserec.errors import ConfigError
from fuserec.shapes import Bool, Int
from fuserec.testing.planted.layout import even_histories, zipf

__all__ = ["LongHistories", "long_histories"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LongHistories:
    """Histories, and where everything in them comes from.

    Attributes:
        histories: of U users, equally long.
        interest: (I,) of each item.
        follows: (I,) the item that comes after each in a run; the last of an interest is followed by its first.
        session: (T,) number of the session, counted over all users.
        begins_run: (T,) True for the first event of a run.
        source: (T,) the entry of the items of ``histories`` of which an event is the repetition; -1 for none.
    """

    histories: Histories
    interest: Int[Tensor, " I"]
    follows: Int[Tensor, " I"]
    session: Int[Tensor, " T"]
    begins_run: Bool[Tensor, " T"]
    source: Int[Tensor, " T"]

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.interest)

    def told(self) -> Bool[Tensor, " T"]:
        """(T,) True where the past tells the item and the events around it do not: a run begins in a repeated session."""
        goes_on = torch.zeros_like(self.begins_run)
        goes_on[1:] = self.session[1:] == self.session[:-1]
        return (self.source >= 0) & self.begins_run & goes_on


def long_histories(
    num_users: int,
    length: int,
    *,
    generator: torch.Generator,
    num_items: int = 2000,
    num_interests: int = 100,
    run: float = 4.0,
    session: float = 30.0,
    distances: tuple[int, ...] = (1000,),
    repeated: float = 0.5,
    skew: float = 0.8,
) -> LongHistories:
    """Histories of ``length`` events each.

    Args:
        num_users: U.
        length: events of each history; 50,000 are no trouble.
        generator: draws everything.
        num_items: I, a multiple of the interests.
        num_interests: each has as many items.
        run: mean number of events of a run.
        session: mean number of events of a session.
        distances: a repeated session is the one that was under way one of these numbers of events before it began, drawn
            evenly; where the history does not reach back so far, the session is new.
        repeated: share of sessions that are an old one over again, as far as that one goes; then new runs of its interest.
        skew: exponent of the Zipf laws of interests, and of where in its interest a run begins; 0 for even.

    Raises:
        ConfigError: numbers that no history can have.
    """
    _check(num_users, length, num_items, num_interests, run, session, distances, repeated)
    count = num_users * length
    place = torch.arange(length).repeat(num_users)

    begins_session = _begins(place == 0, session, generator)
    session_of = begins_session.cumsum(0) - 1
    first = torch.nonzero(begins_session)[:, 0]
    sessions = len(first)
    ends = torch.cat([first[1:], torch.tensor([count])])
    back = torch.tensor(distances)[torch.randint(len(distances), (sessions,), generator=generator)]
    is_repeated = (torch.rand(sessions, generator=generator) < repeated) & (place[first] >= back)
    origin = torch.where(is_repeated, session_of[(first - back).clamp(min=0)], torch.arange(sessions))

    # event t of a repeated session is event t - first of its origin, as far as that goes
    here = torch.arange(count)
    there = first[origin[session_of]] + here - first[session_of]
    is_copy = is_repeated[session_of] & (there < ends[origin[session_of]])
    begins_new_run = begins_session.clone()
    begins_new_run[1:] |= is_copy[:-1] & ~is_copy[1:]
    begins_run = _begins(begins_new_run, run, generator)
    run_of = begins_run.cumsum(0) - 1

    # a new event's item, then every copy's is that of the event where its chain of copies ends
    per_interest = num_items // num_interests
    interest = zipf(sessions, num_interests, exponent=skew, generator=generator)[_ends_of(origin)]
    start = zipf(int(run_of[-1]) + 1, per_interest, exponent=skew, generator=generator)
    step = here - torch.nonzero(begins_run)[:, 0][run_of]
    new = interest[session_of] * per_interest + (start[run_of] + step) % per_interest
    root = _ends_of(torch.where(is_copy, there, here))
    names = torch.randperm(num_items, generator=generator)  # or rows would tell the popularity
    rows = torch.arange(num_items)
    next_row = rows - rows % per_interest + (rows + 1) % per_interest
    return LongHistories(
        histories=even_histories(names[new[root]].view(num_users, length)),
        interest=torch.empty_like(rows).index_copy_(0, names, rows // per_interest),
        follows=torch.empty_like(rows).index_copy_(0, names, names[next_row]),
        session=session_of,
        begins_run=begins_run[root] | begins_session,
        source=torch.where(is_copy, there, -1),
    )


def _begins(always: Bool[Tensor, " T"], mean: float, generator: torch.Generator) -> Bool[Tensor, " T"]:
    """True where it must be, and elsewhere as often as gives stretches of that mean length."""
    return always | (torch.rand(len(always), generator=generator) < 1 / mean)


def _ends_of(pointers: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Where each chain ends that goes on from n to ``pointers[n]``, never upwards; by doubling the steps."""
    while not torch.equal(further := pointers[pointers], pointers):
        pointers = further
    return pointers


def _check(
    num_users: int,
    length: int,
    num_items: int,
    num_interests: int,
    run: float,
    session: float,
    distances: tuple[int, ...],
    repeated: float,
) -> None:
    if num_users < 1 or length < 1:
        raise ConfigError(f"expected users and events, got {num_users} histories of {length}")
    if num_interests < 1 or num_items < num_interests or num_items % num_interests:
        raise ConfigError(
            f"num_items must be a multiple of num_interests, got {num_items} items and {num_interests} interests"
        )
    if run < 1 or session < 1:
        raise ConfigError(f"run and session must be at least 1 event, got {run} and {session}")
    if not distances or min(distances) < 1:
        raise ConfigError(f"distances must be at least one, each of 1 event or more, got {distances}")
    if not 0 <= repeated <= 1:
        raise ConfigError(f"repeated must be 0 .. 1, a share of the sessions, got {repeated}")
