"""A small model for texts with random weights, and a Hugging Face Hub of our own on this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "b",
    "the",
    "dog",
    "cat",
    "river",
    "sings",
    "moon",
    ".",
)


@pytest.fixture(scope="session")
def _text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers", reason="transformers (fuserec[text]) is not installed")
    import torch

    folder = tmp_path_factory.mktemp("model") / "tiny-text"
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.BertModel(config).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    transformers.BertTokenizer(vocabulary, model_max_length=16).save_pretrained(folder)
    return folder


@pytest.fixture
def text_model(_text_model: Path, tmp_path: Path) -> Path:
    """A folder with a BERT of 8 columns that takes 16 tokens; a copy of one's own."""
    return shutil.copytree(_text_model, tmp_path / "tiny-text")


@dataclass
class Hub:
    """Models by id and revision, what was asked for, and the file at whose middle the server dies."""

    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    dies_in: str = ""
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def publish(self, hub_id: str, folder: Path) -> str:
        """Put the files of a folder on the Hub; hands back the commit."""
        self.models[hub_id] = {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
        return self.commit(hub_id)

    def commit(self, hub_id: str) -> str:
        names = sorted(self.models[hub_id])
        return hashlib.sha1("".join(names).encode(), usedforsecurity=False).hexdigest()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content for a path."""
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            hub_id, rest = "/".join(parts[2:4]), parts[4:]
        else:
            hub_id, rest = "/".join(parts[:2]), parts[2:]
        if hub_id not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"no such model"
        files, commit = self.models[hub_id], self.commit(hub_id)
        if rest[1:2] and rest[1] not in {"main", commit}:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"no such revision"
        if rest[:1] == ["resolve"]:
            content = files["/".join(rest[2:])]
            etag = hashlib.sha256(content).hexdigest()
            return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, content
        if rest[:1] == ["tree"]:
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
        told = {"id": hub_id, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
        return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that speaks the routes that a download needs, and an empty cache."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub (fuserec[text]) is not installed")
    published = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            published.asked.append(path)
            status, headers, content = published.answer(path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                dies = bool(published.dies_in) and path.endswith(published.dies_in)
                self.wfile.write(content[: len(content) // 2] if dies else content)
                self.close_connection = dies

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    published.address = f"http://127.0.0.1:{server.server_port}"
    for name in ("FUSEREC_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", published.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    yield published
    server.shutdown()
    server.server_close()
