"""Shapes of requests: strict where REST framework is lenient.

An unknown member is an error, a number is not a text and a text is not a number; what the OpenAPI document says is what
is taken.
"""

import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

_INTEGER = re.compile(r"-?[0-9]{1,16}", re.ASCII)


class Shape(serializers.Serializer):
    """An object with exactly the declared members."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({name: ["This member is unknown."] for name in unknown})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A JSON string, taken as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, min_length=1, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Pattern(serializers.RegexField):
    """A JSON string of a given form; `pattern` must match the whole."""

    def __init__(self, pattern: str, **options: Any) -> None:
        super().__init__(rf"^{pattern}$", trim_whitespace=False, **options)
        self._whole = re.compile(pattern)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or not self._whole.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Choice(serializers.ChoiceField):
    """One of the given strings."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A JSON integer."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class QueryWhole(serializers.IntegerField):
    """An integer in a query, in plain decimal digits."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or not _INTEGER.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)
