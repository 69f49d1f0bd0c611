"""YAML as plain data: safe tags only, duplicate keys refused, numbers such as `3e-4` read as numbers, dates as text."""

import re
from typing import Any

import yaml

from configs.errors import ConfigError


class PlainLoader(yaml.CSafeLoader):
    """A safe loader that follows YAML 1.2 where 1.1 surprises: floats without a dot, and no dates."""


PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
PlainLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _mapping_without_duplicates(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue  # the constructor refuses it, with its place
        if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
            raise yaml.MarkedYAMLError(problem=f"key `{key.value}` stands twice", problem_mark=key.start_mark)
        seen.add(str(key.value))
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


PlainLoader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)


def parse_yaml(text: str, source: str) -> Any:
    """The value of one YAML document. Raises ConfigError with line and column (both from 1) where it is not YAML."""
    try:
        return yaml.load(text, Loader=PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(source, [f"{where}not valid YAML: {error.problem or error.context}"]) from error
    except yaml.YAMLError as error:  # characters that YAML does not allow
        raise ConfigError(source, [f"not valid YAML: {error}"]) from error
