# Every target creates .venv from requirements.lock if it is missing or the lock file has changed.
# Hydra overrides are arguments of make: make finetune model=hrnet_w48 data.root=/data
# Overrides that make cannot parse go into ARGS: make pretrain ARGS='+data.repeat=2 ~callbacks.image_logger'

PYTHON ?= python3
ARGS ?=
RUN := .venv/bin/python
TAGPOSE := $(RUN) -m tagpose
READY := .venv/.ready
# Variables of the command line other than ARGS and PYTHON, each quoted for the shell. In MAKEOVERRIDES, make escapes
# spaces and backslashes with a backslash and doubles dollar signs.
SPACE := $(subst ,, )
NAMED = $(filter-out ARGS=% PYTHON=%,$(subst \$(SPACE),<space>,$(MAKEOVERRIDES)))
OVERRIDES = $(foreach word,$(NAMED),'$(subst <space>,$(SPACE),$(subst ','\'',$(subst $$$$,$$,$(subst \\,\,$(word)))))') $(ARGS)

# spin count of OpenMP barriers; src/tagpose/__init__.py has the reason
export GOMP_SPINCOUNT ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup demo data_synthesize data_download data_split data_skeleton data_check pretrain finetune evaluate reproduce score report predict app models export convert publish cache_outputs tune sweep oracle ablate docs docs-serve benchmark test test-slow fuzz bench check format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and compile the decoder

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11; set PYTHON=... to a newer one"; exit 1; }
	@echo "creating .venv, which takes a few minutes and 7 GB"
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(RUN) -m tagpose.codec.warm_up
	@touch $@

demo: $(READY) ## train and evaluate both stages on synthetic people: 15 minutes on 2 cores
	$(TAGPOSE) demo $(OVERRIDES)

data_synthesize: $(READY) ## render a dataset of synthetic people
	$(TAGPOSE) data synthesize $(OVERRIDES)

data_download: $(READY) ## download COCO 2017 to root=FOLDER: 21 GB, and 42 GB temporarily
	$(TAGPOSE) data download $(OVERRIDES)

data_split: $(READY) ## split source=EXPORT of an annotation tool (COCO or YOLO pose; file, folder or zip) into train and val
	$(TAGPOSE) data split $(OVERRIDES)

data_skeleton: $(READY) ## generate the skeleton and data YAML files of annotations=COCO_FILE, and draw images to check them
	$(TAGPOSE) data skeleton $(OVERRIDES)

data_check: $(READY) ## report statistics and issues of data=NAME, and draw samples; fails if there are errors
	$(TAGPOSE) data check $(OVERRIDES)

pretrain: $(READY) ## train stage one: 17 keypoints on COCO in data.root=FOLDER
	$(TAGPOSE) train $(if $(filter experiment=%,$(MAKEOVERRIDES)),,experiment=pretrain) $(OVERRIDES)

finetune: $(READY) ## train stage two: 133 keypoints on COCO-WholeBody, from init_from=CHECKPOINT
	$(TAGPOSE) train $(if $(filter experiment=%,$(MAKEOVERRIDES)),,experiment=finetune) $(OVERRIDES)

evaluate: $(READY) ## evaluate checkpoint=FILE on a dataset
	$(TAGPOSE) evaluate $(OVERRIDES)

score: $(READY) ## score results=FILE of any program against ground_truth=FILE
	$(TAGPOSE) score $(OVERRIDES)

reproduce: $(READY) ## train and evaluate both stages, and compare with the published results; the same command resumes
	$(TAGPOSE) reproduce $(OVERRIDES)

report: $(READY) ## write an HTML report on results=FILE against ground_truth=FILE, with images=FOLDER
	$(TAGPOSE) report $(OVERRIDES)

predict: $(READY) ## estimate poses in images=PATH (image, folder or video) with checkpoint=FILE
	$(TAGPOSE) predict $(OVERRIDES)

app: $(READY) ## serve a web page that shows poses in uploaded images and videos, with checkpoint=FILE
	$(TAGPOSE) app $(OVERRIDES)

models: $(READY) ## list the published models, which any checkpoint= accepts by name
	$(TAGPOSE) models $(OVERRIDES)

export: $(READY) ## export checkpoint=FILE to ONNX with its decoder, to run without torch
	$(TAGPOSE) export $(OVERRIDES)

convert: $(READY) ## convert an MMPose checkpoint=FILE
	$(TAGPOSE) convert $(OVERRIDES)

publish: $(READY) ## publish checkpoint=FILE in MMPose's layout with a model card
	$(TAGPOSE) publish $(OVERRIDES)

data/synthetic: | $(READY)
	$(TAGPOSE) data synthesize

cache_outputs: $(READY) ## save the network outputs of checkpoint=FILE for tune
	$(TAGPOSE) cache_outputs $(OVERRIDES)

tune: $(READY) ## evaluate predictor.decoder options on cached_outputs=FOLDER, without the network
	$(TAGPOSE) tune $(OVERRIDES)

sweep: $(READY) $(if $(filter-out sweep=demo,$(filter sweep=%,$(MAKEOVERRIDES))),,data/synthetic) ## search hyperparameters with sweep=NAME of conf/sweep; by default a small one on synthetic people
	$(TAGPOSE) sweep $(OVERRIDES)

oracle: $(READY) ## evaluate decoded ground truth, the upper bound of the encoding
	$(TAGPOSE) oracle $(OVERRIDES)

ablate: $(READY) ## evaluate variants of the recipe on synthetic people: hours; the same command resumes
	$(TAGPOSE) ablate $(OVERRIDES)

benchmark: $(READY) ## measure training, inference, decoding and data loading on device=cuda
	$(TAGPOSE) benchmark $(OVERRIDES)

test: $(READY) ## run the fast tests
	$(RUN) -m pytest -m "not slow" -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

test-slow: $(READY) ## run the slow tests
	$(RUN) -m pytest -m slow $(ARGS)

fuzz: $(READY) ## fuzz the readers of external files, ten minutes for each of 16 kinds: three hours
	TAGPOSE_FUZZ=600 $(RUN) -m pytest -s -o timeout=0 tests/integration/test_fuzz.py $(ARGS)

docs: $(READY) ## build the documentation in site/, readable without a server
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "pages: site/index.html"

docs-serve: $(READY) ## serve the documentation at 127.0.0.1:8000 and rebuild it on changes
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs serve

bench: $(READY) ## run the micro-benchmarks, results in runs/bench.json: 10 minutes, and 15 more if runs/demo is missing
	@mkdir -p runs
	$(RUN) -m pytest -o python_files='bench_*.py' --benchmark-json=runs/bench.json --benchmark-columns=median,iqr,rounds tests/benchmarks $(ARGS)

check: $(READY) ## run the linter, the type checker and the import checks
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports

format: $(READY) ## fix style issues automatically
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

lock: ## pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --extra dev --upgrade pyproject.toml --output-file requirements.lock

clean: ## remove .venv and all runs
	rm -rf .venv runs site
