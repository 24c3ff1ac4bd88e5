# Every target sets up what it needs: .venv from requirements.lock, again only when the lock changes.
# Overrides of Hydra stand on make's own command line: make finetune model=hrnet_w48 data.root=/data
# What make cannot parse goes into ARGS: make pretrain ARGS='+data.repeat=2 ~callbacks.image_logger'

PYTHON ?= python3
ARGS ?=
RUN := .venv/bin/python
READY := .venv/.ready
# Every variable of the command line but make's own (CHECKPOINT=FILE is checkpoint=FILE, as it is
# written of files that come from elsewhere), each in quotes, as the shell would go on reading it. make
# escapes spaces and backslashes by a backslash, and doubles what stands for its variables.
SPACE := $(subst ,, )
NAMED = $(patsubst CHECKPOINT=%,checkpoint=%,$(filter-out ARGS=% PYTHON=%,$(subst \$(SPACE),<space>,$(MAKEOVERRIDES))))
OVERRIDES = $(foreach word,$(NAMED),'$(subst <space>,$(SPACE),$(subst ','\'',$(subst $$$$,$$,$(subst \\,\,$(word)))))') $(ARGS)

# spin count of OpenMP's barriers; src/tagpose/__init__.py explains why
export GOMP_SPINCOUNT ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup demo synthesize coco split skeleton inspect_data pretrain finetune evaluate reproduce score report predict app export import_weights publish cache_outputs tune sweep oracle ablate docs docs-serve test test-slow fuzz bench check format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv, and compile the decoder

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; name another one by PYTHON=..."; exit 1; }
	@echo "setting up .venv: a few minutes and 6 GB, once"
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(RUN) -m tagpose.codec.warm_up
	@touch $@

demo: $(READY) ## both stages on synthetic people, a table and pictures: 15 minutes on 2 cores
	$(RUN) scripts/demo.py $(OVERRIDES)

synthesize: $(READY) ## draw the synthetic data set only
	$(RUN) scripts/synthesize.py $(OVERRIDES)

coco: $(READY) ## fetch what is missing of COCO 2017 into root=FOLDER: 21 GB, 42 on the way
	$(RUN) scripts/coco.py $(OVERRIDES)

split: $(READY) ## train and val from source=EXPORT of an annotation tool: COCO or YOLO pose, a file, folder or zip
	$(RUN) scripts/split.py $(OVERRIDES)

skeleton: $(READY) ## the YAML files of a skeleton and its data from annotations=COCO_FILE, and a picture to check them
	$(RUN) scripts/skeleton.py $(OVERRIDES)

inspect_data: $(READY) ## counts, faults and a sheet of samples of data=NAME; fails where there are faults
	$(RUN) scripts/inspect_data.py $(OVERRIDES)

pretrain: $(READY) ## stage one: 17 keypoints on COCO at data.root
	$(RUN) scripts/train.py $(if $(filter experiment=%,$(MAKEOVERRIDES)),,experiment=pretrain) $(OVERRIDES)

finetune: $(READY) ## stage two: 133 keypoints on COCO-WholeBody, from init_from=CHECKPOINT
	$(RUN) scripts/train.py $(if $(filter experiment=%,$(MAKEOVERRIDES)),,experiment=finetune) $(OVERRIDES)

evaluate: $(READY) ## table and result file of checkpoint=FILE on a data set
	$(RUN) scripts/evaluate.py $(OVERRIDES)

score: $(READY) ## table of results=FILE, whoever wrote it, judged by ground_truth=FILE
	$(RUN) scripts/score.py $(OVERRIDES)

reproduce: $(READY) ## both stages, their evaluation and a table of the published results; the same command resumes
	$(RUN) scripts/reproduce.py $(OVERRIDES)

report: $(READY) ## a page on results=FILE judged by ground_truth=FILE: curves, errors, worst of images=FOLDER
	$(RUN) scripts/report.py $(OVERRIDES)

predict: $(READY) ## people in images=FILE_FOLDER_VIDEO by checkpoint=FILE
	$(RUN) scripts/predict.py $(OVERRIDES)

app: $(READY) ## a page of this machine that shows what checkpoint=FILE finds in a picture
	$(RUN) scripts/app.py $(OVERRIDES)

export: $(READY) ## checkpoint=FILE as a bundle that runs without torch: ONNX and the decoder
	$(RUN) scripts/export.py $(OVERRIDES)

import_weights: $(READY) ## a published CHECKPOINT=FILE as one of this project
	$(RUN) scripts/import_weights.py $(OVERRIDES)

publish: $(READY) ## the weights of CHECKPOINT=FILE in the published layout, for other programs
	$(RUN) scripts/publish.py $(OVERRIDES)

data/synthetic: | $(READY)
	$(RUN) scripts/synthesize.py

cache_outputs: $(READY) ## what checkpoint=FILE says of the validation images, saved for tune
	$(RUN) scripts/cache_outputs.py $(OVERRIDES)

tune: $(READY) ## thresholds of predictor.decoder judged on cached_outputs=FOLDER, without the network
	$(RUN) scripts/tune.py $(OVERRIDES)

sweep: $(READY) $(if $(filter-out sweep=demo,$(filter sweep=%,$(MAKEOVERRIDES))),,data/synthetic) ## a search of conf/sweep here: sweep=NAME, by default a small one on synthetic people
	$(RUN) scripts/sweep.py $(OVERRIDES)

oracle: $(READY) ## what encoding alone costs on a data set: perfect maps, decoded and scored
	$(RUN) scripts/oracle.py $(OVERRIDES)

ablate: $(READY) ## each variant of accuracy against the classic way, on drawn people: hours; goes on where it stopped
	$(RUN) scripts/ablate.py $(OVERRIDES)

test: $(READY) ## the quick tests, warnings as errors
	$(RUN) -m pytest -m "not slow" -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

test-slow: $(READY) ## the tests that take minutes
	$(RUN) -m pytest -m slow $(ARGS)

fuzz: $(READY) ## what reads files from outside, ten minutes each: an hour
	TAGPOSE_FUZZ=600 $(RUN) -m pytest -s -o timeout=0 tests/integration/test_fuzz.py $(ARGS)

docs: $(READY) ## the documentation as pages in site/, which open without a server
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "pages: site/index.html"

docs-serve: $(READY) ## the same at 127.0.0.1:8000, renewed as it is written
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs serve

bench: $(READY) ## cost and limit of each step, in runs/bench.json: 10 minutes, 15 more where runs/demo is missing
	@mkdir -p runs
	$(RUN) -m pytest -o python_files='bench_*.py' --benchmark-json=runs/bench.json --benchmark-columns=median,iqr,rounds tests/benchmarks $(ARGS)

check: $(READY) ## style, types, layers
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports

format: $(READY) ## mend what can be mended of the style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

lock: ## pin the newest versions that fit pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --extra dev --upgrade pyproject.toml --output-file requirements.lock

clean: ## remove .venv and all runs
	rm -rf .venv runs site
