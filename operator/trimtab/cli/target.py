"""Which object a command is about: `abt/NAME` or `mdep/NAME`, as kubectl writes it, or a file that holds one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from trimtab.cli.errors import BadInput
from trimtab.core.objects import API_VERSION, Object, Resource
from trimtab.core.schema import Definition
from trimtab.kinds.abtest import api as abtest
from trimtab.kinds.modeldeployment import api as modeldeployment

DEFINITIONS: tuple[Definition, ...] = (abtest.DEFINITION, modeldeployment.DEFINITION)
PARSERS = {"ABTest": abtest.ABTest.parse, "ModelDeployment": modeldeployment.ModelDeployment.parse}


class Target(NamedTuple):
    """One object of ours, by its address."""

    resource: Resource
    short: str
    name: str

    def __str__(self) -> str:
        return f"{self.short}/{self.name}"


def parse(text: str) -> Target:
    """The target that `KIND/NAME` names; BadInput says how to write one."""
    kind, slash, name = text.partition("/")
    for names in (definition.names for definition in DEFINITIONS):
        if slash and name and kind.lower() in (names.short, names.kind.lower(), names.plural):
            return Target(Resource(API_VERSION, names.kind, names.plural), names.short, name)
    raise BadInput(f"{text!r} names nothing that can be shown: write abt/NAME or mdep/NAME")


def of(obj: Object) -> Target:
    """The target that an object is."""
    names = next(d.names for d in DEFINITIONS if d.names.kind == obj["kind"])
    return Target(Resource(API_VERSION, names.kind, names.plural), names.short, obj["metadata"]["name"])


def read(path: str) -> Object:
    """The object in a JSON file, as `kubectl get -o json` prints it; `-` is stdin. BadInput names file and field."""
    where = "stdin" if path == "-" else path
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
        obj = json.loads(text)
    except OSError as error:
        raise BadInput(f"{where}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: it is not text in UTF-8: byte {error.start} is none") from None
    except RecursionError:
        raise BadInput(f"{where}: it is nested too deeply") from None
    except ValueError as error:
        raise BadInput(f"{where}: it is not JSON: {error}; make it with kubectl get abt/NAME -o json") from None
    return checked(obj, where)


def checked(obj: object, where: str) -> Object:
    """The object, if it has the shape of an ABTest or a ModelDeployment; BadInput names the field that has not."""
    if not isinstance(obj, dict) or obj.get("kind") not in PARSERS:
        kind = obj.get("kind") if isinstance(obj, dict) else type(obj).__name__
        raise BadInput(f"{where}: kind: it is {kind!r}, and must be ABTest or ModelDeployment")
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise BadInput(f"{where}: metadata.name: it is missing")
    try:
        PARSERS[obj["kind"]](obj)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return obj
