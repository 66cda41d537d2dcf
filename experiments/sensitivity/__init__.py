"""`keybed sensitivity`: which encoder, state and pooling sees which kind of mistake."""
