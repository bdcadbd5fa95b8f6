"""Every error that a user can meet: one line that says what, where, the value found and what to do.

TilscoreError
├── UsageError          wrong arguments or inputs list
├── ConfigError         a config file or key
├── SlideError          a slide that cannot be read
│   └── MppError        a resolution that is missing or cannot be true
├── AnnotationError     GeoJSON, masks and other drawn input
├── DataError           training sets and artefacts of an earlier stage
├── ModelError          a model folder
└── OutputError         a result that cannot be written
"""

from __future__ import annotations


def printable(value: object, limit: int = 200) -> str:
    """`value` as one printable line of at most `limit` characters (control characters escaped)."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


class TilscoreError(Exception):
    """Base of all errors shown to users; `str()` is one line.

    Parameters
    ----------
    what : what went wrong, in a few words.
    where : the file, column or key concerned.
    found : the value that was found there.
    do : what the user can do about it.
    """

    code = "error"

    def __init__(self, what: str, *, where: object = None, found: object = None, do: str | None = None) -> None:
        self.what, self.where, self.found, self.do = what, where, found, do
        super().__init__(what)

    def __str__(self) -> str:
        line = self.what if self.where is None else f"{printable(self.where)}: {self.what}"
        if self.found is not None:
            line += f" (found {printable(self.found)})"
        return line if self.do is None else f"{line}; {self.do}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.found, self.do)


def _rebuild(kind: type[TilscoreError], what: str, where: object, found: object, do: str | None) -> TilscoreError:
    return kind(what, where=where, found=found, do=do)


class UsageError(TilscoreError):
    """Wrong arguments, or an inputs list that cannot be understood."""

    code = "usage"


class ConfigError(TilscoreError):
    """A config file or one of its keys."""

    code = "config"


class SlideError(TilscoreError):
    """A slide that cannot be opened or read."""

    code = "slide_unreadable"


class MppError(SlideError):
    """A resolution that is missing, anisotropic or implausible."""

    code = "mpp"


class AnnotationError(TilscoreError):
    """GeoJSON or another drawn input."""

    code = "annotation"


class DataError(TilscoreError):
    """A training set, or an artefact of an earlier stage."""

    code = "data"


class ModelError(TilscoreError):
    """A model folder that is missing, damaged or of another kind."""

    code = "model"


class OutputError(TilscoreError):
    """A result that cannot be written."""

    code = "output"
