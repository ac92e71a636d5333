"""Configuration: YAML per environment, the typed loader, and what a Spark driver reads at start."""
