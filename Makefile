# Every target sets up what it needs: .venv from requirements.lock, again only when the lock changes.
# Overrides of Hydra stand on make's own command line: make finetune model=hrnet_w48 data.root=/data
# What make cannot parse goes into ARGS: make pretrain ARGS='+data.repeat=2 ~callbacks.image_logger'

PYTHON ?= python3
ARGS ?=
RUN := .venv/bin/python
TAGPOSE := $(RUN) -m tagpose
READY := .venv/.ready
# Every variable of the command line but make's own each in quotes, as the shell would go on reading it. make
# escapes spaces and backslashes by a backslash, and doubles what stands for its variables.
SPACE := $(subst ,, )
NAMED = $(filter-out ARGS=% PYTHON=%,$(subst \$(SPACE),<space>,$(MAKEOVERRIDES)))
OVERRIDES = $(foreach word,$(NAMED),'$(subst <space>,$(SPACE),$(subst ','\'',$(subst $$$$,$$,$(subst \\,\,$(word)))))') $(ARGS)

# spin count of OpenMP's barriers; src/tagpose/__init__.py explains why
export GOMP_SPINCOUNT ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup demo data_synthesize data_download data_split data_skeleton data_check pretrain finetune evaluate reproduce score report predict app export convert publish cache_outputs tune sweep oracle ablate docs docs-serve test test-slow fuzz bench check format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	$(TAGPOSE) demo $(OVERRIDES)

data_synthesize: $(READY) ## draw the synthetic data set only
	$(TAGPOSE) data synthesize $(OVERRIDES)

data_download: $(READY) ## fetch what is missing of COCO 2017 into root=FOLDER: 21 GB, 42 on the way
	$(TAGPOSE) data download $(OVERRIDES)

data_split: $(READY) ## train and val from source=EXPORT of an annotation tool: COCO or YOLO pose, a file, folder or zip
	$(TAGPOSE) data split $(OVERRIDES)

data_skeleton: $(READY) ## the YAML files of a skeleton and its data from annotations=COCO_FILE, and a picture to check them
	$(TAGPOSE) data skeleton $(OVERRIDES)

data_check: $(READY) ## counts, faults and a sheet of samples of data=NAME; fails where there are faults
	$(TAGPOSE) data check $(OVERRIDES)

pretrain: $(READY) ## stage one: 17 keypoints on COCO at data.root
	$(TAGPOSE) train $(if $(filter experiment=%,$(MAKEOVERRIDES)),,experiment=pretrain) $(OVERRIDES)

finetune: $(READY) ## stage two: 133 keypoints on COCO-WholeBody, from init_from=CHECKPOINT
	$(TAGPOSE) train $(if $(filter experiment=%,$(MAKEOVERRIDES)),,experiment=finetune) $(OVERRIDES)

evaluate: $(READY) ## table and result file of checkpoint=FILE on a data set
	$(TAGPOSE) evaluate $(OVERRIDES)

score: $(READY) ## table of results=FILE, whoever wrote it, judged by ground_truth=FILE
	$(TAGPOSE) score $(OVERRIDES)

reproduce: $(READY) ## both stages, their evaluation and a table of the published results; the same command resumes
	$(TAGPOSE) reproduce $(OVERRIDES)

report: $(READY) ## a page on results=FILE judged by ground_truth=FILE: curves, errors, worst of images=FOLDER
	$(TAGPOSE) report $(OVERRIDES)

predict: $(READY) ## people in images=FILE_FOLDER_VIDEO by checkpoint=FILE
	$(TAGPOSE) predict $(OVERRIDES)

app: $(READY) ## a page of this machine that shows what checkpoint=FILE finds in a picture
	$(TAGPOSE) app $(OVERRIDES)

export: $(READY) ## checkpoint=FILE as a bundle that runs without torch: ONNX and the decoder
	$(TAGPOSE) export $(OVERRIDES)

convert: $(READY) ## a published checkpoint=FILE as one of this project
	$(TAGPOSE) convert $(OVERRIDES)

publish: $(READY) ## the weights of checkpoint=FILE in the published layout, for other programs
	$(TAGPOSE) publish $(OVERRIDES)

data/synthetic: | $(READY)
	$(TAGPOSE) data synthesize

cache_outputs: $(READY) ## what checkpoint=FILE says of the validation images, saved for tune
	$(TAGPOSE) cache_outputs $(OVERRIDES)

tune: $(READY) ## thresholds of predictor.decoder judged on cached_outputs=FOLDER, without the network
	$(TAGPOSE) tune $(OVERRIDES)

sweep: $(READY) $(if $(filter-out sweep=demo,$(filter sweep=%,$(MAKEOVERRIDES))),,data/synthetic) ## a search of conf/sweep here: sweep=NAME, by default a small one on synthetic people
	$(TAGPOSE) sweep $(OVERRIDES)

oracle: $(READY) ## what encoding alone costs on a data set: perfect maps, decoded and scored
	$(TAGPOSE) oracle $(OVERRIDES)

ablate: $(READY) ## each variant of accuracy against the classic way, on drawn people: hours; goes on where it stopped
	$(TAGPOSE) ablate $(OVERRIDES)

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
