"""kill -9 in the middle of the work: the dataset stands as it was, and the next run ends with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.features.conftest import build_shop, draw_photos

from fuserec.data import Dataset
from fuserec.features.job import make_features
from fuserec.features.tasks import Asked

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from fuserec.content.pictures.descriptor import Descriptor
from fuserec.data import Dataset
from fuserec.features import store, work
from fuserec.features.job import make_features
from fuserec.features.tasks import Asked

dataset, photos, when = sys.argv[1:]
work._SAVE_EVERY = 0.0
encode, publish_json, calls = Descriptor.encode, store.write_json, []

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def counted(self, inputs):
    calls.append(inputs)
    if when == "encoding" and len(calls) == 4:
        die()
    return encode(self, inputs)

Descriptor.batches = lambda self, inputs: [np.array([position]) for position in range(len(inputs))]
Descriptor.encode = counted
if when == "before the manifest":
    store.write_json = die
if when == "before the summary":
    store.write_text = die
if when == "before all is tidy":
    store.tidy = die
make_features(Dataset.open(dataset), Asked(images=Path(photos)))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run leaves that nobody killed."""
    scratch = tmp_path_factory.mktemp("whole")
    photos = draw_photos(scratch / "photos")
    return contents(make_features(build_shop(scratch / "shop", scratch), Asked(images=photos)).dataset.path)


@pytest.mark.parametrize(
    "when", ["encoding", "before the manifest", "before the summary", "before all is tidy"]
)
def test_a_killed_run_ends_with_the_same_bytes_when_it_is_run_again(
    shop: Dataset, photos: Path, whole: dict[str, bytes], when: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, shop.path, photos, when], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    between = Dataset.open(shop.path)
    published = when in {"before the summary", "before all is tidy"}
    assert (between.manifest_hash == shop.manifest_hash) is not published
    make_features(between, Asked(images=photos))
    assert contents(shop.path) == whole


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
