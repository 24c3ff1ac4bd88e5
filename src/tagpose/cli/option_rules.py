"""Types and ranges of all options in `conf/`, by key."""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tagpose.structures import MAX_STRIDE, MIN_SIDE

_MAX_LENGTH: Final = 4096  # of paths on Linux
_MAX_NUMBER: Final = 1e9  # of options without a smaller bound, so that typos are noticed


class Rule(NamedTuple):
    """Condition on the value of an option."""

    accepts: Callable[[Any], bool]
    expected: str  # noun phrase for the error message
    convert: Callable[[Any], Any] = lambda value: value  # of accepted values


def number(low: float, high: float = _MAX_NUMBER) -> Rule:
    """Return the rule of finite numbers in a closed range."""
    return Rule(
        lambda value: _is_number(value) and low <= value <= high,
        f"a number of {low:g} or more"
        if high >= _MAX_NUMBER
        else f"a number from {low:g} to {high:g}",
    )


def positive(high: float = _MAX_NUMBER) -> Rule:
    """Return the rule of finite numbers above 0."""
    limit = f" and at most {high:g}" if high < _MAX_NUMBER else ""
    return Rule(lambda value: _is_number(value) and 0 < value <= high, f"a number above 0{limit}")


def integer(low: int, high: int = int(_MAX_NUMBER)) -> Rule:
    """Return the rule of integers in a closed range."""
    what = f"of {low} or more" if high >= _MAX_NUMBER else f"from {low} to {high}"
    return Rule(
        lambda value: isinstance(value, int) and _is_number(value) and low <= value <= high,
        f"an integer {what}",
    )


def multiple(divisor: int, low: int, high: int) -> Rule:
    """Return the rule of the multiples of an integer in a closed range."""
    within = integer(low, high)
    return Rule(
        lambda value: within.accepts(value) and value % divisor == 0,
        f"a multiple of {divisor} from {low} to {high}",
    )


def choice(*values: Any) -> Rule:
    """Return the rule of the listed values."""
    *others, last = [format_value(value) or "an empty text" for value in values]
    return Rule(
        lambda value: any(value == v and type(value) is type(v) for v in values),
        f"{', '.join(others)} or {last}" if others else last,
    )


def text(without: str = "", *, max_length: int = _MAX_LENGTH) -> Rule:
    """Return the rule of texts that lack some characters.

    Hydra parses `output=2024` as a number, which is converted to a text.
    """
    what = f"a text of 1 to {max_length} characters" if max_length < _MAX_LENGTH else "a text"
    return Rule(
        lambda value: (
            (isinstance(value, str) or _is_number(value))
            and 0 < len(str(value)) <= max_length
            and not set(without) & set(str(value))
        ),
        f"{what} without any of {without}" if without else what,
        str,
    )


def optional(rule: Rule) -> Rule:
    """Return the rule that also accepts null."""
    return either(rule, choice(None))


def either(*rules: Rule) -> Rule:
    """Return the rule of values that fit any of some rules."""
    return Rule(
        lambda value: any(rule.accepts(value) for rule in rules),
        ", or ".join(rule.expected for rule in rules),
        lambda value: next(rule.convert(value) for rule in rules if rule.accepts(value)),
    )


def list_of(rule: Rule, length: int | None = None, *, allow_empty: bool = False) -> Rule:
    """Return the rule of lists, of any length above 0 by default."""
    what = f"a list [...] of {length} entries" if length else "a list [...]"
    return Rule(
        lambda value: (
            isinstance(value, list)
            and (bool(value) or allow_empty)
            and length in (None, len(value))
            and all(rule.accepts(entry) for entry in value)
        ),
        f"{what}, in which each entry is {rule.expected}",
        lambda value: [rule.convert(entry) for entry in value],
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def format_value(value: Any) -> str:
    """Format a value as on the command line, shortened."""
    shown = {None: "null", True: "true", False: "false"}
    line = shown[value] if value is None or isinstance(value, bool) else f"{value}"
    line = " ".join(line.split())
    return line if len(line) <= 80 else f"{line[:77]}..."


_FLAG: Final = choice(True, False)
_TEXT: Final = text()
_TEXTS: Final = list_of(_TEXT, allow_empty=True)
_COUNT: Final = integer(1, 1_000_000)
_COUNT_OR_ZERO: Final = integer(0, 1_000_000)
_MAX_SIDE: Final = 16384  # pixels
_SIZE: Final = integer(1, _MAX_SIDE)
_FRACTION: Final = number(0, 1)
_NOT_NEGATIVE: Final = number(0)
_SEED: Final = integer(0, 2**32 - 1)  # as in numpy
_MODE: Final = choice("max", "min")
_WANDB_NAME: Final = text(without="/\\#?%:", max_length=128)  # wandb's rule for projects
_FACTOR: Final = either(_NOT_NEGATIVE, list_of(_NOT_NEGATIVE, 2))  # of albumentations

_RULES: Final = {
    # programs
    "annotations": _TEXT,
    "archives.*.checksum": _TEXT,
    "archives.*.contents.*": _COUNT,
    "archives.*.contents.*.json": _COUNT,
    "archives.*.size": integer(1, 10**13),
    "archives.*.unpacked_size": integer(1, 10**13),
    "archives.*.url": _TEXT,
    "baseline_overrides": _TEXTS,
    "cache_megabytes": _NOT_NEGATIVE,
    "cache_minutes": _NOT_NEGATIVE,
    "cached_outputs": _TEXT,
    "category": optional(_TEXT),
    "calibration_images": optional(_TEXT),
    "checkpoint": _TEXT,
    "combined": _TEXTS,
    "compare_to_published": _FLAG,
    "compare_with": optional(_TEXT),
    "compiled": list_of(_FLAG),
    "config_dir": optional(_TEXT),
    "device": _TEXT,
    "evaluate_overrides": _TEXTS,
    "finetune_overrides": _TEXTS,
    "flip_pairs": optional(list_of(list_of(_TEXT, 2), allow_empty=True)),
    "flip_test": _FLAG,
    "formats": list_of(_TEXT),
    "ground_truth": _TEXT,
    "group": _TEXT,
    "higherhrnet_model": _TEXT,
    "host": _TEXT,
    "image_size": _SIZE,
    "images": optional(_TEXT),
    "inference_batch_sizes": list_of(_COUNT),
    "init_from": optional(_TEXT),
    "input_size": optional(_SIZE),
    "keep_archives": _FLAG,
    "keypoints": optional(list_of(_TEXT)),
    "launcher": either(_TEXT, choice("")),
    "license": _TEXT,
    "loader.batch_size": _COUNT,
    "loader.drawing_processes": optional(_COUNT),
    "loader.image_size": _SIZE,
    "loader.num_images": _COUNT,
    "loader.workers": list_of(_COUNT_OR_ZERO),
    "loop.batch_size": _COUNT,
    "loop.devices": list_of(_COUNT, allow_empty=True),
    "loop.steps": _COUNT,
    "loop.workers": _COUNT_OR_ZERO,
    "manual_downloads": _TEXTS,
    "max_image_size": _SIZE,
    "max_issues": _COUNT_OR_ZERO,
    "max_megapixels": positive(),
    "max_people": _COUNT,
    "max_upload_megabytes": positive(),
    "max_video_seconds": positive(),
    "metrics": optional(_TEXT),
    "min_keypoint_score": _FRACTION,
    "min_people": optional(_COUNT_OR_ZERO),
    "min_person_score": _FRACTION,
    "models": list_of(_TEXT),
    "monitor": _TEXT,
    "name": _TEXT,
    "names": optional(list_of(_TEXT)),
    "network_maps": _TEXTS,
    "num_images": optional(_COUNT),
    "num_worst_images": _COUNT_OR_ZERO,
    "output": _TEXT,
    "output_name": optional(text(without="/")),
    "overwrite": _FLAG,
    "parts": optional(list_of(_TEXT)),
    "paths.*": _TEXT,
    "peak_tflops": optional(positive()),
    "people_per_image": _COUNT,
    "per_part_scores": _FLAG,
    "picture.format": _TEXT,
    "picture.max_size": optional(_SIZE),
    "pictures": _COUNT_OR_ZERO,
    "port": optional(integer(1, 65535)),
    "precision": choice("bf16", "float32"),
    "pretrain_overrides": _TEXTS,
    "read_pixels": _FLAG,
    "recipe": _TEXT,
    "reference_model": _TEXT,
    "repeats": _COUNT,
    "results": _TEXT,
    "resume": optional(_TEXT),
    "root": _TEXT,
    "run": _TEXT,
    "samples": _COUNT_OR_ZERO,
    "seed": _SEED,
    "seeds": list_of(_SEED),
    "source": _TEXT,
    "sparse": _FLAG,
    "split": either(_TEXT, list_of(_TEXT)),
    "stages.*.evaluate": _TEXTS,
    "stages.*.skeleton": _TEXT,
    "stages.*.train": _TEXTS,
    "static_shape": optional(list_of(multiple(MAX_STRIDE, MIN_SIDE, _MAX_SIDE), 2)),
    "steps": _COUNT,
    "synthesize": optional(_TEXTS),
    "train": _COUNT,
    "train_batch_sizes": list_of(_COUNT),
    "train_overrides": _TEXTS,
    "unfiltered": _TEXTS,
    "v0_as_labeled": _FLAG,
    "val": _COUNT,
    "val_annotations": optional(_TEXT),
    "val_fraction": optional(_FRACTION),
    "val_images": optional(_TEXT),
    "variants.*.oracle": _FLAG,
    "variants.*.per_part_scores": _FLAG,
    "variants.*.*": _TEXTS,
    "warmup_steps": _COUNT_OR_ZERO,
    # conf/skeleton and conf/model
    "skeleton.name": _TEXT,
    "model.network.architecture": _TEXT,
    "model.network.compiled": _FLAG,
    "model.network.input_size": _SIZE,
    "model.network.pretrained": either(_FLAG, _TEXT),
    "model.network.spatial_tags": _NOT_NEGATIVE,
    "model.network.subpixel": _FLAG,
    "model.network.tag_init_std": positive(),
    "model.network.tag_sharing": choice("keypoint", "part", "shared"),
    # conf/criterion, conf/encoder and conf/optimization
    "criterion.foreground_weight": _NOT_NEGATIVE,
    "criterion.heatmap_weight": _NOT_NEGATIVE,
    "criterion.ignore_empty_maps": _FLAG,
    "criterion.pull_weight": _NOT_NEGATIVE,
    "criterion.push_form": choice("exp", "hinge"),
    "criterion.push_weight": _NOT_NEGATIVE,
    "criterion.spatial_weight": _NOT_NEGATIVE,
    "encoder.ignore_unlabeled": _FLAG,
    "encoder.min_sigma": optional(positive()),
    "encoder.sigma": positive(),
    "encoder.small_part_weight": number(1),
    "encoder.weight_by_sigma": _FLAG,
    "encoder.weight_by_visibility": _FLAG,
    "optimization.lr_scaling.base_batch_size": _COUNT,
    "optimization.lr_scaling.rule": choice("none", "linear", "sqrt"),
    "optimization.lr_schedule.gamma": positive(1),
    "optimization.lr_schedule.milestones": list_of(_FRACTION, allow_empty=True),
    "optimization.lr_schedule.min_factor": _FRACTION,
    "optimization.lr_schedule.warmup_steps": integer(0),
    "optimization.optimizer.fused": optional(_FLAG),
    "optimization.optimizer.lr": positive(1000),
    "optimization.optimizer.weight_decay": _NOT_NEGATIVE,
    # conf/data and conf/augmentation
    "data.batch_size": _COUNT,
    "data.category": optional(_TEXT),
    "data.input_size": _SIZE,
    "data.num_workers": _COUNT_OR_ZERO,
    "data.on_error": choice("stop", "skip"),
    "data.repeat": _COUNT,
    "data.root": _TEXT,
    "data.seed": _SEED,
    "data.train": list_of(_TEXT, 2),
    "data.transforms.*.p": _FRACTION,
    "data.transforms.blur.blur_limit": either(_COUNT_OR_ZERO, list_of(_COUNT_OR_ZERO, 2)),
    "data.transforms.blur.sigma_limit": _FACTOR,
    "data.transforms.color.brightness": _FACTOR,
    "data.transforms.color.contrast": _FACTOR,
    "data.transforms.color.hue": either(number(0, 0.5), list_of(number(-0.5, 0.5), 2)),
    "data.transforms.color.saturation": _FACTOR,
    "data.transforms.crop.flip_prob": _FRACTION,
    "data.transforms.crop.input_size": _SIZE,
    "data.transforms.crop.learn_padding": _FLAG,
    "data.transforms.crop.rotate_limit": number(0, 180),
    "data.transforms.crop.shift_limit": _NOT_NEGATIVE,
    "data.transforms.crop.zoom": list_of(positive(), 2),
    "data.v0_as_labeled": _FLAG,
    "data.val": list_of(_TEXT, 2),
    "data.val_batch_size": _COUNT,
    # conf/callbacks, conf/logger and conf/trainer
    "callbacks.*.decay": _FRACTION,
    "callbacks.*.dirpath": _TEXT,
    "callbacks.*.enable_version_counter": _FLAG,
    "callbacks.*.every_n_steps": _COUNT,
    "callbacks.*.filename": _TEXT,
    "callbacks.*.fill_missing": _FLAG,
    "callbacks.*.folder": _TEXT,
    "callbacks.*.interval_minutes": _NOT_NEGATIVE,
    "callbacks.*.max_images": _COUNT_OR_ZERO,
    "callbacks.*.max_people": optional(_COUNT),
    "callbacks.*.max_skipped": _COUNT_OR_ZERO,
    "callbacks.*.mode": _MODE,
    "callbacks.*.monitor": optional(_TEXT),
    "callbacks.*.patience": _COUNT,
    "logger.*.group": optional(text(max_length=128)),
    "logger.*.log_artifact": optional(_FLAG),
    "logger.*.online": _FLAG,
    "logger.*.project": _WANDB_NAME,
    "logger.*.save_dir": _TEXT,
    "trainer.accelerator": choice("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.accumulate_grad_batches": _COUNT,
    "trainer.benchmark": _FLAG,
    "trainer.check_val_every_n_epoch": optional(_COUNT),
    "trainer.default_root_dir": _TEXT,
    "trainer.deterministic": either(_FLAG, choice("warn")),
    "trainer.devices": either(integer(1, 1024), choice(-1, "auto"), list_of(integer(0, 1023))),
    "trainer.fast_dev_run": either(_FLAG, _COUNT),
    "trainer.gradient_clip_val": optional(positive()),
    "trainer.max_epochs": either(_COUNT, choice(-1)),
    "trainer.num_nodes": _COUNT,
    "trainer.precision": choice(
        "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true",
        "32", "16", "bf16", "64", 32, 16, 64,
    ),
    "trainer.strategy": _TEXT,
    "trainer.sync_batchnorm": _FLAG,
    # conf/predictor, conf/decoder, and the parts of conf/predict.yaml
    "predictor.compiled": _FLAG,
    "predictor.decoder.coco_order": _FLAG,
    "predictor.decoder.distance_tie_break": _FLAG,
    "predictor.decoder.fill_missing": _FLAG,
    "predictor.decoder.max_peaks": _COUNT,
    "predictor.decoder.max_people": optional(_COUNT),
    "predictor.decoder.max_tag_distance": positive(),
    "predictor.decoder.min_score": _NOT_NEGATIVE,
    "predictor.decoder.part_mean_tags": _FLAG,
    "predictor.decoder.require_near_parent": _FLAG,
    "predictor.device": optional(_TEXT),
    "predictor.flip_test": _FLAG,
    "predictor.fuse_by_size": _FLAG,
    "predictor.input_size": optional(_SIZE),
    "predictor.multi_scale_tags": _FLAG,
    "predictor.precision": choice("float32", "bf16"),
    "predictor.scales": list_of(positive(100)),
    "stride": _COUNT,
    "style.background": choice("image", "black"),
    "style.blur_faces": _FLAG,
    "style.boxes": optional(_FLAG),
    "style.color_by": choice("part", "person"),
    "style.ids": optional(_FLAG),
    "style.line_width": positive(1000),
    "video.max_frames": optional(integer(1)),
    "video.max_lost_seconds": _NOT_NEGATIVE,
    "video.min_keypoint_score": _FRACTION,
    "video.min_track_score": _FRACTION,
    "video.smooth": _FLAG,
    "video.smoothing.beta": _NOT_NEGATIVE,
    "video.smoothing.max_gap": _NOT_NEGATIVE,
    "video.smoothing.min_cutoff": positive(),
    "video.smoothing.min_keypoint_score": _FRACTION,
}  # fmt: skip

# rules of keys that mean the same in several programs, but must not be null in some
_REQUIRED_INPUT_SIZE: Final = {"input_size": _SIZE}
_OPTIONAL_CHECKPOINT: Final = {"checkpoint": optional(_TEXT)}
_PROGRAM_RULES: Final[dict[str, dict[str, Rule]]] = {
    "ablate": _REQUIRED_INPUT_SIZE,
    "benchmark": _REQUIRED_INPUT_SIZE | _OPTIONAL_CHECKPOINT,
    "data_check": _REQUIRED_INPUT_SIZE,
    "data_download": {"parts": list_of(_TEXT)},
    "data_skeleton": {"name": optional(_TEXT)},
    "data_split": {"output": optional(_TEXT)},
    "demo": _REQUIRED_INPUT_SIZE,
    "evaluate": _OPTIONAL_CHECKPOINT,
    "export": {"precision": choice("float32", "float16", "int8")},
    "oracle": _REQUIRED_INPUT_SIZE | _OPTIONAL_CHECKPOINT,
    "predict": {"images": _TEXT, "resume": _FLAG},
    "report": {"min_person_score": optional(either(_FRACTION, choice(float("-inf"))))},
    "train": _REQUIRED_INPUT_SIZE,
    "tune": {"ground_truth": optional(_TEXT)},
}


def find_rules(program: str) -> MappingProxyType[str, Rule]:
    """Return the rules of the options of a program by key, in which `*` matches any name."""
    return MappingProxyType(_RULES | _PROGRAM_RULES.get(program, {}))
