"""What a store looks like on disk: vocabulary, recipe, array specifications, layout and shard arithmetic. Pure data."""

from keybed.store.format.array_specs import ArraySpec, array_specs, shard_rows_for
from keybed.store.format.feature import Feature, parse_feature
from keybed.store.format.layout import Layout, object_key
from keybed.store.format.recipe import FORMAT_VERSION, EncoderSpec, Recipe, differences, fingerprint
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import Status

__all__ = [
    "FORMAT_VERSION",
    "ArraySpec",
    "EncoderSpec",
    "Feature",
    "Layout",
    "Recipe",
    "Rows",
    "Status",
    "array_specs",
    "differences",
    "fingerprint",
    "object_key",
    "parse_feature",
    "shard_rows_for",
]
