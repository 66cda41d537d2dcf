"""Phase 5: draw clips, collect expert ratings on a web page, and compare them with labels and models."""
