"""Fields of a title's metadata as editors know them, and the content blocks made of each."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.data.content import Block, Content
from models.linear.content_kernel import Features

FIELDS: Mapping[str, tuple[str, ...]] = {
    "title": ("title",),
    "plot": ("plot",),
    "poster": ("poster",),
    "people": ("people", "cast", "directors", "credits", "lead", "fame"),
    "themes": ("themes",),
    "genres": ("genres", "genre_pairs"),
    "language": ("language",),
    "release": ("year", "year_5", "year_3", "month", "weekday"),
}


def fields_of(content: Content) -> dict[str, list[str]]:
    """Names of the blocks of `content` by field; fields without a block are left out."""
    by_field = {field: [name for name in names if name in content.blocks] for field, names in FIELDS.items()}
    return {field: names for field, names in by_field.items() if names}


def presence(content: Content) -> dict[str, NDArray[np.bool_]]:
    """[titles] by field: True where a title has a value. Fame is ignored, since every title has it."""
    by_field = {
        field: [name for name in names if name != "fame"] or names for field, names in fields_of(content).items()
    }
    return {field: np.any([content.present[name] for name in names], axis=0) for field, names in by_field.items()}


def without_field(content: Content, field: str) -> Content:
    """`content` without the blocks of `field`; the other blocks keep their weights."""
    lost = set(FIELDS[field])
    kept = {name: content.weights.get(name, 1.0) for name in content.blocks if name not in lost}
    return content.only(kept)


def presence_alone(content: Content, field: str) -> Content:
    """`content` with a field's blocks replaced by one column, 1 where a title has the field, of the same total weight.

    Where only known titles have a field, this column gives away which titles are known: a gain from it is a leak.
    """
    rest, names = without_field(content, field), fields_of(content)[field]
    block: Block = presence(content)[field].astype(np.float32)[:, None]
    name = f"has_{field}"
    weight = sum(content.weights.get(block_name, 1.0) for block_name in names)
    everywhere = np.ones(content.count_titles, dtype=np.bool_)  # a missing field is information, too
    return Content(
        {**rest.blocks, name: block}, {**rest.present, name: everywhere}, {**rest.weights, name: float(weight)}
    )


def leave_out(rows: Features, content: Content, fields: Collection[str]) -> Features:
    """`rows`, features of `content` or a selection of them, as if their titles lacked `fields`.

    The other fields and the means and scales of features stay unchanged.
    """
    lost = {name for field in fields for name in FIELDS[field]}
    blocks = (
        replace(block, values=_zeros_like(block.values), presence=np.zeros(rows.count)) if name in lost else block
        for name, block in zip(content.blocks, rows.blocks, strict=True)
    )
    return Features(tuple(blocks), rows.count)


def _zeros_like(values: Block) -> Block:
    return sparse.csr_matrix(values.shape, dtype=np.float64) if sparse.issparse(values) else np.zeros_like(values)
