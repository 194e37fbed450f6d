"""JSON Schema 2020-12 as far as the schemas of configurations use it; a keyword beyond that is an error."""

from __future__ import annotations

KINDS = {
    "string": str, "number": (int, float), "integer": (int, float), "boolean": bool, "null": type(None),
    "array": list, "object": dict,
}  # fmt: skip
SILENT = {"$schema", "$defs", "title", "description", "default"}


def is_kind(value, kind):
    """Whether JSON has this value as this type; 3.0 is an integer to it, and true is no number."""
    if isinstance(value, bool) and kind != "boolean":
        return False
    return isinstance(value, KINDS[kind]) and (kind != "integer" or float(value).is_integer())


def check_type(value, told, root, where):
    kinds = [told] if isinstance(told, str) else told
    return [] if any(is_kind(value, kind) for kind in kinds) else [f"{where} is no {told}: {value!r}"]


def check_members(value, schema, root, where):
    """Faults of an object's members."""
    found = []
    known = schema.get("properties", {})
    for name, member in value.items() if isinstance(value, dict) else ():
        if name in known:
            found += faults(member, known[name], root, f"{where}.{name}")
        elif schema.get("additionalProperties", True) is False:
            found.append(f"{where} has no {name}")
    return found


def check_items(value, schema, root, where):
    """Faults of an array's members."""
    if not isinstance(value, list):
        return []
    first = schema.get("prefixItems", [])
    found = [f for i, (v, s) in enumerate(zip(value, first, strict=False)) for f in faults(v, s, root, f"{where}.{i}")]
    for i, member in enumerate(value[len(first) :]):
        found += faults(member, schema.get("items", {}), root, f"{where}.{i}")
    short, long = schema.get("minItems", 0), schema.get("maxItems", len(value))
    return found if short <= len(value) <= long else [*found, f"{where} has {len(value)} members"]


def check_any(value, branches, root, where):
    told = [faults(value, branch, root, where) for branch in branches]
    return [] if [] in told else [fault for branch in told for fault in branch]


CHECKS = {
    "type": check_type,
    "anyOf": check_any,
    "$ref": lambda v, told, root, where: faults(v, root["$defs"][told.removeprefix("#/$defs/")], root, where),
    "enum": lambda v, told, root, where: [] if v in told else [f"{where} is none of {told}: {v!r}"],
    "const": lambda v, told, root, where: [] if v == told else [f"{where} is not {told}: {v!r}"],
    "minimum": lambda v, told, root, where: [f"{where} {v!r}"] if is_kind(v, "number") and not v >= told else [],
    "maximum": lambda v, told, root, where: [f"{where} {v!r}"] if is_kind(v, "number") and not v <= told else [],
}
STRUCTURE = {"properties", "additionalProperties", "items", "prefixItems", "minItems", "maxItems"}


def faults(value, schema, root=None, where=""):
    """Everything in a value that a schema does not admit."""
    root = schema if root is None else root
    unknown = set(schema) - SILENT - STRUCTURE - set(CHECKS)
    if unknown:
        raise KeyError(f"{where}: this reader of JSON Schema does not know {unknown}")
    found = [fault for key, told in schema.items() if key in CHECKS for fault in CHECKS[key](value, told, root, where)]
    return [*found, *check_members(value, schema, root, where), *check_items(value, schema, root, where)]
