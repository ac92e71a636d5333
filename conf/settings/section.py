"""The base class of every section of the settings, and the types that its keys are made of."""

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
    """A folder or URI as jobs on any working directory understand it: relative paths are from here."""
    return location if urlsplit(location).scheme else str(Path(location).absolute())


Location = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]
# A mapping that nothing changes after loading, written to JSON as any other.
READ_ONLY = AfterValidator(lambda values: MappingProxyType(dict(values)))
FROZEN = (READ_ONLY, PlainSerializer(lambda values: dict(values)))


class Section(BaseModel):
    """Unknown keys are refused, nothing is coerced, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
