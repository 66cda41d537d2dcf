"""Phase 5: draw clips (`selection.select`), collect expert ratings (`app.serving.serve`), compare them (`ingest.ingest`)."""
