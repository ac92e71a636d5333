"""Fields of a title's metadata, as editors know them, and the blocks of content that are made of each."""

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
    """The blocks that `content` has of each field; fields without a block are left out."""
    found = {field: [name for name in names if name in content.blocks] for field, names in FIELDS.items()}
    return {field: names for field, names in found.items() if names}


def presence(content: Content) -> dict[str, NDArray[np.bool_]]:
    """[titles] by field: whether a title has anything of it. Fame, which every title has, does not tell."""
    telling = {
        field: [name for name in names if name != "fame"] or names for field, names in fields_of(content).items()
    }
    return {field: np.any([content.present[name] for name in names], axis=0) for field, names in telling.items()}


def without_field(content: Content, field: str) -> Content:
    """All blocks but those made of `field`; the others keep their weights."""
    lost = set(FIELDS[field])
    kept = {name: content.weights.get(name, 1.0) for name in content.blocks if name not in lost}
    return content.only(kept)


def presence_alone(content: Content, field: str) -> Content:
    """As `content`, but of a field nothing is left but whether a title has it, weighing what its blocks did.

    Where a field exists for known titles only, this alone says who is known: what it brings is no understanding.
    """
    rest, names = without_field(content, field), fields_of(content)[field]
    block: Block = presence(content)[field].astype(np.float32)[:, None]
    name = f"has_{field}"
    weight = sum(content.weights.get(own, 1.0) for own in names)
    everywhere = np.ones(content.count_titles, dtype=np.bool_)  # that it is missing says as much as that it is there
    return Content(
        {**rest.blocks, name: block}, {**rest.present, name: everywhere}, {**rest.weights, name: float(weight)}
    )


def leave_out(rows: Features, content: Content, fields: Collection[str]) -> Features:
    """`rows`, features of `content` or a selection of them, as if their titles lacked `fields`.

    What the others have stays as it is, and so do the means and scales of features.
    """
    lost = {name for field in fields for name in FIELDS[field]}
    blocks = (
        replace(own, values=_nothing(own.values), presence=np.zeros(rows.count)) if name in lost else own
        for name, own in zip(content.blocks, rows.blocks, strict=True)
    )
    return Features(tuple(blocks), rows.count)


def _nothing(values: Block) -> Block:
    return sparse.csr_matrix(values.shape, dtype=np.float64) if sparse.issparse(values) else np.zeros_like(values)
