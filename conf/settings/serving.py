"""The retriever, batch inference and the reference server: serving."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Count, Positive, Section


class Serving(Section):
    """The retriever, batch inference and the reference server."""

    host: str = Field(description="address that the server listens on")
    port: Annotated[int, Field(ge=0, lt=65536)] = Field(description="port of the server; 0 picks a free one")
    refresh_seconds: Annotated[float, Field(gt=0)] = Field(
        description="seconds between checks for a newly published bundle"
    )
    refused_retry_seconds: Annotated[float, Field(gt=0)] = Field(
        description="seconds before a refused bundle is tried again"
    )
    titles: Positive = Field(description="titles in a response to a request without k")
    max_titles: Positive = Field(description="maximum number of titles in a response")
    max_history_titles: Positive = Field(description="maximum number of titles in a request's history")
    max_listed_titles: Positive = Field(
        description="maximum number of titles a request may exclude, or give as candidates"
    )
    max_body_bytes: Positive = Field(description="largest request body, in bytes")
    exact_max_titles: Count = Field(
        description="up to this many allowed titles are scored exactly; above it the planner may search the index"
    )
    threads: Positive = Field(description="threads per request, or per worker of batch inference")
