"""Reads a job file. Environment variables beat the YAML file, and `--set` on the command line beats both."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.yaml_document import MAX_DOCUMENT_BYTES, read_yaml
from diagchd_batch.errors import ConfigError
from diagchd_batch.uris import start_of
from diagchd_batch.wording import shortened, shown_value

ENVIRONMENT_PREFIX = "DIAGCHD_BATCH__"
_MISTYPED_PREFIX = "DIAGCHD_BATCH_"
_PLAIN = {
    "model_type": "a block of keys belongs here",
    "model_attributes_type": "a block of keys belongs here",
    "dict_type": "a block of keys belongs here",
    "list_type": "a list belongs here",
    "missing": "is missing",
}
"""pydantic's error types → a message in the words of a job file."""

_UNION_BRANCHES = {"int", "float", "constrained-int", "constrained-float", "FrameSpacing"}
"""What pydantic adds to the location of a problem within a union. It is no key of a job file."""

_SHOWN_CHARACTERS = 120
_SHOWN_PROBLEMS = 20


def load_job(path: str | Path, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> JobConfig:
    """Read a job file and apply the overrides.

    Values of overrides and variables are read as YAML, so that ``[0.01, 0.02]``, ``true`` and ``auto`` work.

    Args:
        path: The job file.
        overrides: The command line's ``key.sub=value``.
        environ: Environment variables; ``DIAGCHD_BATCH__KEY__SUB`` sets ``key.sub``.

    Returns:
        The whole job with its defaults.

    Raises:
        ConfigError: Something is invalid. The message names the file or variable, the key and, for an unknown key, the
            nearest known one.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_DOCUMENT_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"job file {path}{start_of(str(path))} cannot be read: {_reason(error)}") from error
    document = read_yaml(text, f"job file {path}")
    if not isinstance(document, dict):
        raise ConfigError(f"job file {path} holds no keys; the command `config schema` shows what it may hold")
    applied = []  # named in errors, because an override may be at fault and not the file
    for name, value in sorted((environ or {}).items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            applied.append(name)
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            if not all(keys):
                raise ConfigError(f"environment variable {name}: expected {ENVIRONMENT_PREFIX}BLOCK__KEY")
            _assign(document, keys, value, source=f"environment variable {name}")
        elif name.startswith(_MISTYPED_PREFIX) and "__" in name:
            meant = ENVIRONMENT_PREFIX + name.removeprefix(_MISTYPED_PREFIX)
            raise ConfigError(f"environment variable {name} would be ignored; is {meant} meant?")
    for override in overrides:
        shown = f"--set {shortened(override, _SHOWN_CHARACTERS)}"
        key, separator, value = override.partition("=")
        if not separator or not all(part.strip() for part in key.split(".")):
            raise ConfigError(f"{shown}: expected key=value, such as --set model.precision=bfloat16")
        applied.append(f"--set {shortened(key.strip(), _SHOWN_CHARACTERS)}")
        _assign(document, key.strip().split("."), value, source=shown)
    return parse_job(document, source=f"job file {path}" + (f" with {', '.join(applied)}" if applied else ""))


def parse_job(document: Mapping[str, Any], source: str) -> JobConfig:
    """Return the job that nested mappings describe.

    Args:
        document: The blocks and keys of a job file.
        source: What messages call it.

    Raises:
        ConfigError: A key is unknown or missing, or a value is not allowed.
    """
    try:
        return JobConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{source} is not valid:\n" + "\n".join(problem_lines(error))) from error


def without_values(error: ConfigError) -> ConfigError:
    """Return the error of `load_job` without any value of the job file, for a log that others may read.

    Args:
        error: An error of `load_job`, whose message may quote places of the archive.
    """
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        keys = dict.fromkeys(_known_keys(problem["loc"]) for problem in cause.errors(include_url=False))
        text = f"the job file is not valid at {', '.join(list(keys)[:_SHOWN_PROBLEMS])}"
    elif isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark:
        text = f"the job file is not valid YAML at line {cause.problem_mark.line + 1}"
    elif isinstance(cause, OSError):
        text = f"the job file cannot be read ({_reason(cause)})"
    else:
        text = "the job file, an override or an environment variable is not valid"
    return ConfigError(f"{text}; the command `config validate` shows the values, which are left out here")


def _known_keys(location: tuple[int | str, ...]) -> str:
    """Return the keys of a location down to the first one that a job file does not have."""
    keys: list[str] = []
    for depth, part in enumerate(location):
        if part not in _model_at(location[:depth]).model_fields:
            break
        keys.append(str(part))
    return ".".join(keys) or "its first level"


def _assign(document: dict[str, Any], keys: Sequence[str], text: str, source: str) -> None:
    value = read_yaml(text, f"the value of {source}")
    block: Any = document
    for key in keys[:-1]:
        if block.get(key) is None:
            block[key] = {}
        block = block[key]
        if not isinstance(block, dict):
            raise ConfigError(
                f"{source}: {shortened(str(key), _SHOWN_CHARACTERS)} is a value, not a block that holds "
                f"{shortened(keys[-1], _SHOWN_CHARACTERS)}"
            )
    block[keys[-1]] = value


def problem_lines(error: ValidationError) -> Iterator[str]:
    """Yield one line for each key of a job file that is at fault, and at most `_SHOWN_PROBLEMS` lines.

    The messages of a union's branches (``auto`` or a number) are joined.
    """
    texts: dict[str, list[str]] = {}
    got: dict[str, str] = {}
    n_more = 0
    for problem in error.errors(include_url=False):
        location = problem["loc"]
        # pydantic adds the branch of a union ("literal['auto']", "constrained-int") to the location, which is no key
        keys = [shortened(str(part), _SHOWN_CHARACTERS) for part in location if not _is_union_branch(part)]
        shown = ".".join(keys) or "the file"
        if shown not in texts and len(texts) == _SHOWN_PROBLEMS:
            n_more += 1
            continue
        if problem["type"] == "extra_forbidden":
            text = f"unknown key{_nearest(location)}"
        else:
            text = _PLAIN.get(problem["type"], problem["msg"])
            text = text.removeprefix("Value error, ").removeprefix("Input ")
            if problem["type"] != "missing":
                got[shown] = f" (got {shown_value(problem.get('input'))})"
        texts.setdefault(shown, []).append(text)
    for shown, said in texts.items():
        yield f"  {shown}: {', or '.join(dict.fromkeys(said))}{got.get(shown, '')}"
    if n_more:
        yield f"  and {n_more:,} more"


def _is_union_branch(part: int | str) -> bool:
    return isinstance(part, str) and ("[" in part or part in _UNION_BRANCHES)


def _nearest(location: tuple[int | str, ...]) -> str:
    known = list(_model_at(location[:-1]).model_fields)
    matches = difflib.get_close_matches(shortened(str(location[-1]), _SHOWN_CHARACTERS), known, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else f"; known here: {', '.join(known)}"


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = JobConfig
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            nested = [kind for kind in (annotation, *get_args(annotation)) if _is_model(kind)]
            model = nested[0] if nested else model
    return model


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
