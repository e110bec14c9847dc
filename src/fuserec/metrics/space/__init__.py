"""What a space of item vectors is like: pure functions of all its rows, one number each, computed in float64.

They say of a space what it is, not of a list how good it is, so reports of rankings do not know them. A number that is not
defined, such as the correlation with a constant, is NaN.
"""

from fuserec.metrics.space.agreement import cosine_correlation, cosine_rank_correlation
from fuserec.metrics.space.diagnostics import space_diagnostics
from fuserec.metrics.space.effective_rank import effective_rank
from fuserec.metrics.space.genre_distance import genre_distance
from fuserec.metrics.space.ridge_probe import ridge_probe
from fuserec.metrics.space.title_retrieval import title_retrieval
from fuserec.metrics.space.uniformity import uniformity

__all__ = [
    "cosine_correlation",
    "cosine_rank_correlation",
    "effective_rank",
    "genre_distance",
    "ridge_probe",
    "space_diagnostics",
    "title_retrieval",
    "uniformity",
]
