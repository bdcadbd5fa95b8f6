"""Whether three grey channels are the red, green and blue of one picture, or stains of a fluorescence scan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tilscore.errors import SlideError

_WORDS = ("red", "green", "blue")
_LONGEST_WORD = 80
_SAYS_NOTHING = re.compile(
    r"(channel|ch|c|image|sample|series|band|default)?[\s_:.#-]*\d{0,2}([\s_:.#-]+\d{1,2})*"
    r"|rgb|colou?r|h&e|(tl|transmitted)?[\s_-]*(bright[\s_-]?field|bf|light)?",
    re.IGNORECASE,
)
"""Names without a meaning of their own, and those of a camera of colours."""


def check_rgb(path: Path, words: Sequence[Sequence[str]], colours: Sequence[str]) -> None:
    """Refuse channels that are said to be anything but red, green and blue, in this order.

    Parameters
    ----------
    words : names and other marks of each channel; of one that stands for all three, or of none, where so stated.
    colours : the colour of each as six hexadecimal digits; empty or grey: none is stated.

    Raises
    ------
    SlideError : a channel has a name of its own, or the colour of another.
    """
    strange = [word for i, said in enumerate(words) for word in said if not _fits(i, word)]
    if not strange and len(colours) > 1:
        strange = [f"colour {colour}" for i, colour in enumerate(colours) if not _is_colour(i, colour)]
    if strange:
        do = "if it is H&E, write it as 8-bit RGB (raw2ometiff --rgb)"
        raise SlideError("channels are not red, green and blue", where=path, found=", ".join(strange), do=do)


def _fits(channel: int, word: str) -> bool:
    if channel >= len(_WORDS) or len(word) > _LONGEST_WORD:
        return False
    own = _WORDS[channel]
    named = rf"(channel|ch|c)?[\s_:.-]*({own}|{own[0]})[\s_:.-]*(channel|ch)?"
    return any(re.fullmatch(pattern, word.strip(), re.IGNORECASE) for pattern in (named, _SAYS_NOTHING.pattern))


def _is_colour(channel: int, colour: str) -> bool:
    if not re.fullmatch(r"[0-9A-Fa-f]{6}", colour):
        return not colour
    parts = list(bytes.fromhex(colour))
    if len(set(parts)) == 1:
        return True
    return channel < len(parts) and parts[channel] > 2 * max(p for i, p in enumerate(parts) if i != channel)
