"""What a file of vectors looks like, as JSON Schema (draft 2020-12)."""
from typing import Any

NUMBER: dict[str, Any] = {"oneOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}
ARRAY: dict[str, Any] = {
    "type": "object", "required": ["dtype", "shape", "data"], "additionalProperties": False,
    "description": "data is flat, the last axis fastest; floats are the shortest decimals that "
                   "read back to the same bits",
    "properties": {"dtype": {"enum": ["float64", "float32", "int64"]},
                   "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                   "data": {"type": "array", "items": {"$ref": "#/$defs/number"}}}}
ARRAYS: dict[str, Any] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/array"}}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
CASE: dict[str, Any] = {
    "type": "object", "required": ["inputs", "outputs", "tolerances", "condition", "flags"],
    "additionalProperties": False,
    "properties": {
        "inputs": {"type": "object", "additionalProperties": {
            "oneOf": [{"$ref": "#/$defs/array"}, {"type": "string"}]}},
        "outputs": ARRAYS,
        "tolerances": {**ARRAYS, "description": "how far each number may be off in float64"},
        "condition": {"type": "number", "description": "the largest tolerance/(eps |y|)"},
        "flags": {"type": "array", "items": {"type": "string"},
                  "description": "mistakes that move this case by 100 tolerances or more"}}}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Cases of one operation with their right answers",
    "type": "object",
    "required": ["schema", "version", "generator", "operation", "equation", "summary", "notes",
                 "inputs", "outputs", "number_of_cases", "flags", "cases"],
    "additionalProperties": False,
    "properties": {
        **{key: {"type": "string"} for key in (
            "schema", "generator", "operation", "equation", "summary", "notes")},
        "version": {"const": 2}, "inputs": TEXTS, "outputs": TEXTS,
        "number_of_cases": {"type": "integer", "minimum": 1},
        "flags": {**TEXTS, "description": "a note on each flag: the answer matches if ..."},
        "cases": {"type": "array", "items": {"$ref": "#/$defs/case"}}},
    "$defs": {"number": NUMBER, "array": ARRAY, "case": CASE}}
