"""Artifacts filed under their stage keys, and the ledger that indexes them.
Knows keys and bytes, nothing of training."""

from sota_bench.store.artifacts import DamagedArtifact, MissingArtifact
from sota_bench.store.ledger import StageRow
from sota_bench.store.store import Store

__all__ = ["DamagedArtifact", "MissingArtifact", "StageRow", "Store"]
