"""What snapshots of an installation are made with, opened from Config: encoder, topic vectors, addresses."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import numpy as np

from contexts.context import Vector
from contexts.encoders import open_encoder
from contexts.facets import STANDING_WEIGHTS
from contexts.taxonomy import content_taxonomy
from contexts.topic_vectors import TopicVectors
from engine.build import Recipe
from engine.config import Config


def open_recipe(config: Config) -> Recipe:
    """Open it. Raises ContextError naming the file of a model that is damaged or missing."""
    models, base = config.data_dir / "models", config.base_url
    encoder = open_encoder(models, model_path=Path(config.encoder) if config.encoder else None)
    topics = TopicVectors.build(encoder, content_taxonomy(), VectorFiles(models / "vectors"))
    return Recipe(encoder, topics, STANDING_WEIGHTS, lambda name: f"{base}/images/{name}")


class VectorFiles(MutableMapping[str, Vector]):
    """Vectors kept as files of a folder, by digest; a damaged file counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, key: str) -> Vector:
        try:
            vectors: Vector = np.load(self._path(key), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise KeyError(key) from error
        return vectors

    def __setitem__(self, key: str, vectors: Vector) -> None:
        making = self._path(f"{key}.{secrets.token_hex(4)}")
        np.save(making, vectors, allow_pickle=False)
        making.replace(self._path(key))

    def __delitem__(self, key: str) -> None:
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in self._folder.glob("*.npy"))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npy"
