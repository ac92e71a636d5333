"""The base class of all sections of the settings, and the types that they share."""

from pathlib import Path
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]


def _absolute(location: str) -> str:
    """The folder or URI with an absolute path, so that it means the same in every working directory."""
    return location if urlsplit(location).scheme else str(Path(location).absolute())


Location = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]
# A read-only mapping, written to JSON as any other.
READ_ONLY = AfterValidator(lambda values: MappingProxyType(dict(values)))
FROZEN = (READ_ONLY, PlainSerializer(lambda values: dict(values)))


class Section(BaseModel):
    """Refuses unknown keys, coerces nothing and is frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
