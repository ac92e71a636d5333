"""Configuration: YAML files per environment, the typed settings and their loader, and what every command line shares.

Public: `conf.settings.Settings`, `conf.loader.load_settings`, `conf.command_line`, and `conf.night_folder`, where a
night keeps its files. Commands: `conf.run_airflow`, `conf.document`. Start with conf/local.yaml, which
docs/configuration.md explains key by key.
"""
