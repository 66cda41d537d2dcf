"""Which recordings exist: a CSV, a folder or another layout, pieces and splits, and the MIDI file of each recording."""

from keybed.extract.corpus.layouts import Reading, read_corpus
from keybed.extract.corpus.metadata import Corpus, CorpusError, Recording
from keybed.extract.corpus.parse import ParsedRecording, file_problems, parse_all
from keybed.extract.corpus.pieces import Pieces, SplitRepair, find_pieces

__all__ = [
    "Corpus",
    "CorpusError",
    "ParsedRecording",
    "Pieces",
    "Reading",
    "Recording",
    "SplitRepair",
    "file_problems",
    "find_pieces",
    "parse_all",
    "read_corpus",
]
