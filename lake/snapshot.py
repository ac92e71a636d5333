"""A lake at pinned versions: what a run reads, and can read again later."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from lake import delta_files, delta_log
from lake.delta_files import DeltaFiles


@dataclass(frozen=True)
class LakeSnapshot:
    """Tables of the lake at `root`, each at one version, so that all readers of a run see the same rows."""

    root: str
    versions: Mapping[str, int]  # by table

    @classmethod
    def pin(cls, root: str, tables: Iterable[str]) -> Self:
        """The newest version of each table. Raises LakeError where the lake lacks one."""
        return cls(root, {table: delta_log.version(f"{root}/{table}") for table in tables})

    def location(self, table: str) -> str:
        """The table's folder or URI."""
        return f"{self.root}/{table}"

    def version(self, table: str) -> int:
        """The pinned version."""
        return self.versions[table]

    def describe(self, table: str) -> str:
        """Location and version, for messages."""
        return f"{self.location(table)} version {self.version(table)}"

    def read(self, table: str, columns: Sequence[str], split: str | None = None) -> pa.Table:
        """Columns of a table, or of its rows of one split; raises LakeError as `delta_files.read_table` does."""
        return delta_files.read_table(self.location(table), self.version(table), columns, split)

    def open(self, table: str, split: str | None = None) -> DeltaFiles:
        """The files of a table, or of one of its splits; raises LakeError as `delta_files.open_version` does."""
        return delta_files.open_version(self.location(table), self.version(table), split)

    def splits(self, table: str) -> list[str]:
        """The splits that have rows, of a table partitioned by split."""
        return delta_files.splits(self.location(table), self.version(table))
