"""The retriever, batch inference and the reference server: serving."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Count, Positive, Section


class Serving(Section):
    """The retriever, batch inference and the reference server."""

    host: str = Field(description="address that the server listens at")
    port: Annotated[int, Field(ge=0, lt=65536)] = Field(description="port of the server; 0 takes a free one")
    refresh_seconds: Annotated[float, Field(gt=0)] = Field(
        description="seconds between two looks for a newly published bundle"
    )
    refused_retry_seconds: Annotated[float, Field(gt=0)] = Field(
        description="seconds until a refused bundle is tried again"
    )
    titles: Positive = Field(description="titles of a response where the request names no number")
    max_titles: Positive = Field(description="most titles of a response")
    max_history_titles: Positive = Field(description="most titles of a request's history")
    max_listed_titles: Positive = Field(description="most titles of a request to leave out, or to choose from")
    max_body_bytes: Positive = Field(description="largest body of a request")
    exact_max_titles: Count = Field(
        description="up to so many allowed titles are all scored; of more the planner may search the index"
    )
    threads: Positive = Field(description="threads of one request, or of one worker of batch inference")
