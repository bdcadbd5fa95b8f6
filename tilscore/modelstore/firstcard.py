"""The first card of a model that was just trained: what the machine knows, and what a person has yet to write."""

from __future__ import annotations

from tilscore import NOTE
from tilscore.network.config import ModelConfig

TO_WRITE = "*To write before the model is shared:*"
"""Marks what is missing; `verify_model` looks for it."""

_TEXT = """\
---
library_name: tilscore
tags: [histology, nuclei]
---
# {name}

Nuclei (place and type) and tissue regions from H&E, in one pass.

**{note}**

| | |
|---|---|
| network | encoder {encoder}, pyramid of {width} channels |
| input | RGB, {mpp} um/px |
| cell classes | {cells} |
| region classes | {regions} |
| detection threshold | {threshold} |
| weights | `model.safetensors`, sha256 {sha256} |

## Data and their terms

{to_write} which fields it was trained on, whose they are, and what their terms allow.

## Figures, and how they were obtained

{to_write} figures on fields that it never saw, with the command that gives them.

## Limits

{to_write} tissues, stains and scanners that it was not tried on.
"""


def untouched(card: str) -> bool:
    """Whether nobody has completed a section of a first card: it may be written anew."""
    return card.count(TO_WRITE) == _TEXT.count("{to_write}")


def first_card(cfg: ModelConfig) -> str:
    """Markdown with the metadata that a hub reads."""
    return _TEXT.format(
        name=cfg.name,
        note=NOTE,
        encoder=cfg.net.encoder,
        width=cfg.net.width,
        mpp=cfg.mpp,
        cells=", ".join(cfg.cell_classes),
        regions=", ".join(cfg.region_classes),
        threshold=cfg.detection_threshold,
        sha256=cfg.weights_sha256,
        to_write=TO_WRITE,
    )
