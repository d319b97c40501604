"""Configuration files: YAML into pydantic models, with errors that name file, line, key and what was expected."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class SettingsError(ValueError):
    """A configuration file cannot be used. The message has one line per fault: file:line: key: what was expected."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML 1.2, 3.2.1.3: keys are unique)."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)  # pyright: ignore[reportUnknownMemberType]
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(path: Path | str, model: type[Model]) -> Model:
    """Read `path` as `model`. Raises SettingsError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 text (byte {error.start})"]) from error
    return parse(text, model, name=str(path))


def parse(text: str, model: type[Model], *, name: str = "<text>") -> Model:
    """Read YAML text as `model`; `name` stands for the file in messages. Raises SettingsError."""
    try:
        tree = yaml.compose(text, Loader=_Loader)
        data: Any = yaml.load(text, Loader=_Loader)  # _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SettingsError([f"{name}:{line}: not YAML: {error.problem or error.context}"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SettingsError([f"{name}: not YAML: {error}"]) from error
    if not isinstance(data, dict):
        raise SettingsError([f"{name}:1: expected keys and values, found {type(data).__name__}"])
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SettingsError([_fault(name, tree, e) for e in error.errors()]) from error


def _fault(name: str, tree: Any, error: Any) -> str:
    loc: tuple[Any, ...] = error["loc"]
    key = ".".join(str(part) for part in _visible(tree, loc)) or "(top level)"
    message = error["msg"]
    if error["type"] == "extra_forbidden":
        message = "unknown key"
    elif error["type"] == "missing":
        message = "this key is required"
    elif "input" in error and isinstance(error["input"], str | int | float | bool):
        message = f"{message}, found {error['input']!r}"
    return f"{name}:{_line(tree, loc)}: {key}: {message}"


def _walk(tree: Any, loc: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """(part, node) for each part of a pydantic location that stands in the file; a union's branch names do not."""
    found: list[tuple[Any, Any]] = []
    node = tree
    for part in loc:
        child = None
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == str(part):
                    child = (key_node, value_node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = (node.value[part], node.value[part])
        if child is not None:
            found.append((part, child[0]))
            node = child[1]
    return found


def _visible(tree: Any, loc: tuple[Any, ...]) -> list[Any]:
    parts = [part for part, _ in _walk(tree, loc)]
    if loc and (not parts or parts[-1] != loc[-1]):
        parts.append(loc[-1])
    return parts


def _line(tree: Any, loc: tuple[Any, ...]) -> int:
    steps = _walk(tree, loc)
    node = steps[-1][1] if steps else tree
    return node.start_mark.line + 1 if node is not None else 1
