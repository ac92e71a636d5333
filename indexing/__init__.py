"""Embeddings to a ScaNN bundle, publish and roll back, the retriever, the reference server. Never imports Spark."""
