"""Phase 5: draw the segments worth paying for, collect expert ears' ratings, and say what they are worth."""
