"""The blocks of a title's content that models read: content."""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, PlainSerializer

from conf.settings.section import READ_ONLY, Section, Weight

ContentBlock = Literal[
    "genres",
    "genre_pairs",
    "themes",
    "people",
    "cast",
    "directors",
    "credits",
    "lead",
    "fame",
    "language",
    "month",
    "weekday",
    "year",
    "year_5",
    "year_3",
    "title",
    "plot",
    "poster",
]


def _in_use(weights: Mapping[str, float]) -> dict[str, float]:
    """The blocks with a weight above 0: a file laid over another cannot remove a key, but can set it to 0."""
    known = get_args(ContentBlock)
    if unknown := [name for name in weights if name not in known]:
        raise ValueError(f"unknown block of content {unknown[0]!r}; expected one of {', '.join(known)}")
    used = {name: weight for name, weight in weights.items() if weight > 0}
    if not used:
        raise ValueError("expected a block of content whose weight is above 0")
    return used


def _with_unused(weights: Mapping[str, float]) -> dict[str, float]:
    """All blocks, with 0 for those not in use, so that a dumped file switches them off when laid over another."""
    return {**weights, **{name: 0.0 for name in get_args(ContentBlock) if name not in weights}}


class ContentBlocks(Section):
    """Blocks of content. A field that only known titles have leaks their popularity: measure with and without it."""

    blocks: Annotated[Mapping[str, Weight], AfterValidator(_in_use), READ_ONLY, PlainSerializer(_with_unused)] = Field(
        description="weight of each block; 0 or no entry leaves a block out"
    )
