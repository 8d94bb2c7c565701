# The two commands that matter: `make demo` and `make test`. Each sets everything up that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate
# The extras for platforms are not among them: no one set of versions fits all.
EXTRAS := --extra transforms --extra operator --extra redis --extra server --extra s3 --extra kafka --extra nats --extra iceberg --extra sql
# Images run the versions that the tests ran with.
TESTED := --constraint requirements/dev.txt

# Tests, demo and benchmarks start hundreds of processes, each twice as fast if none compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-training test services test-all test-frameworks lint bench bench-job bench-online bench-events bench-operator bench-node bench-http bench-training soak images push release release-check cluster cluster-demo cluster-down crds krew expressions changelog docs lock clean help
.DEFAULT_GOAL := help

help:  ## Show what there is to make.
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/ready: requirements/dev.txt requirements/uv.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(LOWEST)/ready: requirements/lowest.txt pyproject.toml $(VENV)/ready
	@test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	@$(UV) pip sync --quiet --python $(LOWEST)/bin/python --require-hashes requirements/lowest.txt
	@$(UV) pip install --quiet --python $(LOWEST)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/ready  ## Run the main job on real flights data, from dropped files to features for training and inference.
	@$(BIN)/python -m demo

demo-training: services  ## Run the story of a model: a training set, MLflow, KServe, and a month that has drifted.
	@PYTHONPATH=tests/support $(BIN)/python -m demo.training

test: $(VENV)/ready  ## Run lint, every test, and those that touch libraries again with the lowest versions of them.
	@$(MAKE) --jobs lint services $(LOWEST)/ready
	@$(BIN)/python tests/stages.py

test-all: $(VENV)/ready  ## Run all of `make test`, and of what is exhaustive all instead of a sample.
	@$(MAKE) --jobs lint services $(LOWEST)/ready
	@tests/services scaling
	@$(BIN)/python tests/stages.py --all

services: $(VENV)/ready  ## Install or build the real programs that tests start: Redis, Kubernetes, Kafka …
	@tests/services

test-frameworks: $(VENV)/ready  ## Run the tests with PyTorch, TensorFlow, Ray and the controllers that run trainings, which are not in `make test` (9 GB).
	@tests/services frameworks
	@FRAMEWORKS=1 $(BIN)/pytest tests/frameworks

lint: $(VENV)/ready  ## Check style, formatting, types, import contracts, and that the CRDs are in step with the models.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy tests/support
	@$(BIN)/mypy release
	@$(BIN)/lint-imports

bench: $(VENV)/ready  ## Measure against the floors, as a table and as JSON.
	@$(BIN)/python -m bench

bench-job: services  ## Measure where the seconds of a small batch's Job go, from the start of its process to its end.
	@$(BIN)/python -m bench job

bench-online: $(VENV)/ready  ## Measure publishing, and reads for inference beside the bare stores (and Feast, if FEAST_PYTHON names a Python that has it).
	@PYTHONPATH=tests/support $(BIN)/python -m bench online publish

bench-events: services  ## Measure how long until a push, 5,000 messages a second, and in a cluster a file are readable online.
	@PYTHONPATH=tests/support $(BIN)/python -m bench events messages execution

bench-operator: services  ## Measure the operator with 5,000 views and 5,000 pipelines before a real API server.
	@$(BIN)/python -m bench controller distant tenants

bench-node: services  ## Measure what a tenant with much work costs another one where Jobs are pods (Debian, root).
	@$(BIN)/python -m bench tenants_on_node

bench-http: services  ## Measure the feature server with one worker and 16 connections (needs wrk).
	@$(BIN)/python -m bench http

bench-training: $(VENV)/ready  ## Measure one worker that reads a training set beside a plain Arrow scan, and the memory that making one takes.
	@$(BIN)/python -m bench training training_build

MINUTES ?= 30
soak: services  ## Let a laptop and a cluster take files and messages for half an hour while parts of them fail: make soak [MINUTES=30].
	@PYTHONPATH=tests/support $(BIN)/python -m bench.soak --minutes=$(MINUTES)

# Docker, Podman or Buildah with its options: CONTAINERS=…, else the first that works. BASE, REGISTRY: see docs/releasing.md.
RELEASE := PYTHONPATH=tests/support $(BIN)/python -m release
export CONTAINERS BUILD_OPTIONS
images: $(VENV)/ready  ## Build the images and try each: make images [BASE=python:3.11-slim-bookworm].
	@$(RELEASE) images --base=$(BASE)

push: $(VENV)/ready  ## Push the images and print their digests: make push REGISTRY=registry.example.org/features.
	@$(RELEASE) push --registry=$(REGISTRY)

release: $(VENV)/ready  ## Publish all of a version: make release REGISTRY=registry.example.org/features (docs/releasing.md).
	@tests/services release
	@$(RELEASE) release --registry=$(REGISTRY) --base=$(BASE)

release-check: $(VENV)/ready  ## Do so to a registry of this machine's own, read all back from there, and remove it.
	@tests/services release
	@$(RELEASE) check --base=$(BASE)

cluster: services  ## Start a Kubernetes with a node on this machine (Debian, root), and say how to use it.
	@PYTHONPATH=tests/support $(BIN)/python -m cluster up

cluster-demo: services  ## Start one with this checkout installed, put a file to S3, read its features: README's "On Kubernetes", timed.
	@PYTHONPATH=tests/support $(BIN)/python -m cluster demo

cluster-down:  ## End what `make cluster` started.
	@PYTHONPATH=tests/support $(BIN)/python -m cluster down

expressions: $(VENV)/ready  ## Write docs/expressions.md anew from the table of functions.
	@$(BIN)/python -m featurestore.expressions.reference_page docs/expressions.md

crds: $(VENV)/ready  ## Write from the table of kinds: crds/, the copy that is installed, the kinds in roles, operator/deploy from the chart.
	@$(BIN)/python -m featurestore.resources.crd crds
	@$(BIN)/python -m featurestore.resources.crd operator/chart/definitions
	@$(BIN)/python -m featurestore.resources.field_docs docs/resources.md
	@$(BIN)/python -m featurestore.resources.roles operator/chart/templates operator/chart/definitions operator/audit docs
	@PYTHONPATH=tests/support $(BIN)/python -m installation
	@PYTHONPATH=tests/support $(BIN)/python -m pipeline_fields

krew: $(VENV)/ready  ## Write the kubectl plugin for krew into dist/krew: make krew URI=https://… HOMEPAGE=https://…
	@$(BIN)/python operator/krew/archive.py dist/krew --uri=$(URI) --homepage=$(HOMEPAGE)

changelog: $(VENV)/ready  ## Move the fragments of changes/ into CHANGELOG.md.
	@$(BIN)/python changes/assemble.py

docs: $(VENV)/ready  ## Check that every link in the documentation leads somewhere.
	@$(BIN)/pytest tests/docs

lock: $(VENV)/ready  ## Pin the newest and the lowest versions of all dependencies, with hashes and without addresses.
	@$(COMPILE) $(EXTRAS) --group dev --group demo --group newest --upgrade pyproject.toml -o requirements/dev.txt
	@$(COMPILE) $(EXTRAS) --group dev --group demo --resolution lowest-direct pyproject.toml -o requirements/lowest.txt
	@$(COMPILE) $(TESTED) --group operator-image -o requirements/operator.txt
	@$(COMPILE) $(TESTED) --extra transforms --extra redis --extra s3 --extra server --extra kafka --extra nats --extra iceberg --extra sql pyproject.toml -o requirements/job.txt
	@$(COMPILE) --upgrade --extra kserve --extra transforms --extra redis --extra s3 pyproject.toml -o requirements/kserve.txt
	@$(COMPILE) $(TESTED) --group build -o requirements/build.txt
	@echo 'uv>=0.5' | $(COMPILE) --upgrade - -o requirements/uv.txt

clean:  ## Remove everything that make made.
	rm -rf $(VENV) .venv-lowest build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-store demo-training-store
