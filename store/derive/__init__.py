"""`keybed derive`: training moments, PCA, int8 and pooled views, made by Dask.

The function `derive` is imported from its module, which has the same name.
"""

from keybed.store.derive.derive import DeriveConfig, DeriveReport

__all__ = ["DeriveConfig", "DeriveReport"]
