"""How a bundle is asked, and the reference server: serving."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Count, Positive, Section


class Serving(Section):
    """How a bundle is asked, and the reference server."""

    host: str  # whose address the server listens at; loopback unless told otherwise
    port: Annotated[int, Field(ge=0, lt=65536)]  # 0 takes a free one
    refresh_seconds: Annotated[float, Field(gt=0)]  # how often the pointer is looked at for a new bundle
    refused_retry_seconds: Annotated[float, Field(gt=0)]  # how long a bundle that was refused is left alone
    titles: Positive  # in an answer where nobody says how many
    max_titles: Positive  # the most in an answer
    max_history_titles: Positive  # of a request
    max_listed_titles: Positive  # to leave out, or to choose from
    max_providers: Positive
    max_body_bytes: Positive
    exact_max_titles: Count  # so many that may be recommended are all scored; of more, the index is asked
    exact_price: Annotated[float, Field(gt=0)]  # of scoring a title, in those of fetching one from the index
    threads: Positive  # that one request may take, or one worker of batch inference
    batch_users: Positive  # of batch inference, at a time
    reason_history_titles: Positive  # that are left out one by one, to see what each weighs
