# make demo   set up .venv, write the sample town, check, train, evaluate, map, report
# make test   set up .venv with the development tools, run every check and test
# make slow   the tests that make test leaves out: full width, whole datasets
# make check  format, lint, types, layers
# make cluster  the tests on a Ray cluster of two nodes, which needs another 70 MB; not part of make test
# make bench  speed against named peers, in an environment of its own: DATA=folder with CamVid (1.5 hours more), QUICK=1 for a short one
# make clean  remove what these made

PYTHON ?= python3
BIN := .venv/bin
DEMO := demo

.PHONY: demo test slow check cluster bench clean

demo: .venv/demo.stamp
	$(BIN)/python examples/demo.py $(DEMO)

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist loadfile

slow: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not gpu" -n 2

check: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

cluster: .venv/dev.stamp
	$(BIN)/python -m pip install --quiet -e '.[ray]' -c constraints.txt
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/infer/test_cluster.py -m "not slow"

bench: .venv-bench/bench.stamp
	.venv-bench/bin/python benchmarks/all.py $(if $(DATA),--data "$(DATA)") $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf .venv .venv-bench $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch first and alone: where a small CPU build is at hand, the pin finds it before anything asks for more
.venv/torch.stamp: constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet torch -c constraints.txt
	touch $@

.venv/demo.stamp: pyproject.toml .venv/torch.stamp
	$(BIN)/python -m pip install --quiet -e '.[geo]' -c constraints.txt
	touch $@

# the peers whose weights and logits tests compare with come without their dependencies: torchvision asks for another torch
.venv/dev.stamp: pyproject.toml benchmarks/requirements.txt .venv/torch.stamp
	$(BIN)/python -m pip install --quiet -e '.[dev]' -c constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps -r benchmarks/requirements.txt
	touch $@

.venv-bench/bin/python:
	$(PYTHON) -m venv .venv-bench

.venv-bench/bench.stamp: pyproject.toml constraints.txt benchmarks/requirements-bench.txt benchmarks/requirements.txt | .venv-bench/bin/python
	.venv-bench/bin/python -m pip install --quiet torch -c constraints.txt
	.venv-bench/bin/python -m pip install --quiet -e '.[export,fast,peers]' -c constraints.txt
	.venv-bench/bin/python -m pip install --quiet --no-deps -r benchmarks/requirements-bench.txt
	touch $@
