"""From raw files to a dataset folder, and from the folder to plain arrays for training.

    raw files --build--> Dataset (a folder) --prepare(split)--> fuserec.batch.Prepared

It knows no model. Original ids live here and in `fuserec.index`, nowhere else. Building is
`fuserec.data.build.build`; no name of a module is also that of a function here.
"""

from __future__ import annotations

from fuserec.data.dataset import Dataset
from fuserec.data.schema import BuildOptions, Manifest

__all__ = ["BuildOptions", "Dataset", "Manifest"]
