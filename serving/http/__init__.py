"""Parts of `serving.server`: request bodies, the request log, and the Prometheus metrics."""
