"""Request bodies of the server: typed, with limits on the lengths of lists."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from conf.settings import Serving
from indexing.errors import RequestError
from serving.user_history import Entry

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["DE"])]
TitleId = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
# Most providers of a request: nobody subscribes to more, and each costs a lookup.
MAX_PROVIDERS = 200


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class HistoryEntry(_Request):
    """A title of the history."""

    title_id: TitleId
    weight: float = Field(1.0, ge=-1e6, le=1e6, description="1 is a like, below 0 a dislike")
    age_days: float = Field(0.0, ge=0, le=1e6, description="how long ago")


def _kind(entry: object) -> str:
    """The discriminator: a bad entry then gives one error instead of one per type."""
    return "title" if isinstance(entry, dict | HistoryEntry) else "id"


_Entry = Annotated[Annotated[HistoryEntry, Tag("title")] | Annotated[TitleId, Tag("id")], Discriminator(_kind)]


class _Filters(_Request):
    country: Country | None = Field(None, description="only titles on offer there")
    providers: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None, description=f"only titles that at least one of them offers in the country; at most {MAX_PROVIDERS}"
    )
    k: int | None = Field(None, ge=1, description="titles in the response; at most serving.max_titles")
    exclude: list[TitleId] = Field([], description="at most serving.max_listed_titles")
    candidates: list[TitleId] | None = Field(
        None, description="only titles among these; at most serving.max_listed_titles"
    )
    why: bool = Field(True, description="give reasons, which takes about as long as the rest")


class RecommendRequest(_Filters):
    """Titles for a user. A user without likes gets what is popular in their country."""

    history: list[_Entry] = Field(
        [],
        description="title ids, or titles with weight and age; bare ids are likes of today, the first one the newest; "
        "at most serving.max_history_titles",
        examples=[[318, {"title_id": 2571, "weight": 0.8, "age_days": 12}]],
    )
    dial: float | str = Field(
        0.0,
        description="one of the bundle's settings, or a number clipped to its range; above 0 favours popular titles",
    )
    freshness: float = Field(0.0, ge=-1e6, le=1e6, description="above 0 favours new titles")

    def entries(self) -> list[Entry]:
        """The history as arguments of the retriever."""
        return [
            entry if isinstance(entry, int) else (entry.title_id, entry.weight, entry.age_days)
            for entry in self.history
        ]


class SimilarRequest(_Filters):
    """Titles similar to all of the given ones together."""

    title_ids: list[TitleId] = Field(description="at most serving.max_history_titles", examples=[[318]])


def refuse_too_large(request: RecommendRequest | SimilarRequest, limits: Serving) -> None:
    """Raise RequestError for a list that is longer than the settings allow."""
    limit_by_field = {
        "history": limits.max_history_titles,
        "title_ids": limits.max_history_titles,
        "providers": MAX_PROVIDERS,
        "exclude": limits.max_listed_titles,
        "candidates": limits.max_listed_titles,
    }
    for field, limit in limit_by_field.items():
        values: list[Any] = getattr(request, field, None) or []
        if len(values) > limit:
            raise RequestError(field, f"at most {limit} entries, found {len(values)}")
