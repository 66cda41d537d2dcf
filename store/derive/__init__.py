"""`keybed derive`: training moments, PCA, int8 and pooled views, made by Dask."""
