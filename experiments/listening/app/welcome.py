"""What a rater reads and hears before the first clip: consent, contact, the check of the volume, and how long it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keybed.store.errors import KeybedError

MAX_CONSENT_CHARACTERS = 20_000
CHECKS = ("quiet", "loud")
"""The two clips of the headphones check, SET/check/NAME.flac."""
PLAYS_A_CLIP, RATING_S = 1.5, 45.0
"""Assumed for the time that a rater is told: how often a clip is heard, and seconds at the sliders."""


class ConsentRefused(KeybedError):
    """A file that cannot be shown as the text of consent."""


@dataclass(frozen=True)
class Welcome:
    """consent: text to agree to, "" where none is asked. contact: who answers questions. check: there are clips for the volume."""

    consent: str = ""
    contact: str = ""
    check: bool = False

    @property
    def consent_sha256(self) -> str:
        """sha256 of the text, which a rater's agreement names; "" where no consent is asked."""
        return hashlib.sha256(self.consent.encode()).hexdigest() if self.consent else ""


def read_consent(path: Path) -> str:
    """The text of a UTF-8 file, paragraphs parted by empty lines. Raises ConsentRefused."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConsentRefused(f"--consent {path}: not a text file in UTF-8") from error
    except OSError as error:
        raise ConsentRefused(f"--consent {path} cannot be read ({error.strerror})") from error
    if not text:
        raise ConsentRefused(f"--consent {path}: the file has no text")
    if len(text) > MAX_CONSENT_CHARACTERS:
        raise ConsentRefused(
            f"--consent {path}: {len(text):,} characters; at most {MAX_CONSENT_CHARACTERS:,} are shown"
        )
    return text


def minutes(seconds: Sequence[float]) -> int:
    """About how many minutes the clips of these lengths in s take, in steps of 5."""
    whole = sum(PLAYS_A_CLIP * s + RATING_S for s in seconds) / 60
    return max(5 * round(whole / 5), 5)
