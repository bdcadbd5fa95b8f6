"""The settings of the tissue map, each with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from tilscore.errors import ConfigError
from tilscore.tissue.focus import FocusConfig


@dataclass(frozen=True)
class TissueConfig:
    """How tissue is found; lengths and areas are physical, so they hold at any `mpp`."""

    mpp: float = 8.0
    """um/px of the mask: twice the pixel of the region map, so both align."""
    min_od: float = 0.008
    """Mean OD of the palest tissue: faint fibres and fat septa measure 0.01-0.03, smears on glass 0.002-0.009."""
    min_texture: float = 0.006
    """Local OD standard deviation of tissue: glass and dye haze measure 0.001-0.004, faint tissue 0.008 and more."""
    seed_od: float = 0.02
    """Mean OD that a fragment must reach somewhere; the weaker bounds above only extend such a seed."""
    seed_texture: float = 0.012
    """Local OD standard deviation that a fragment must reach somewhere."""
    seed_colour: float = 0.010
    """OD times chroma that a fragment must reach somewhere: dust, edges and smears are neutral."""
    flat_od: float = 0.10
    """Mean OD from which coloured tissue needs no texture (out of focus, mucin); dye haze stays below 0.05."""
    flat_colour: float = 0.05
    """OD times chroma that goes with `flat_od`."""
    grey_od: float = 0.10
    """Mean OD from which a neutral pixel is faded ink, dust or an edge of glass: tissue does not reach across it."""
    grey_chroma: float = 0.15
    """Chroma (no unit) of what is neutral: haematoxylin has 0.4, and 99.5 % of tissue has more."""
    texture_um: float = 40.0
    """um, side of the window of the local standard deviation: a few nuclei, less than a fat cell."""
    close_um: float = 40.0
    """um, radius of the closing that bridges fat cells (diameter up to 100 um) open to the outside."""
    min_tissue_um2: float = 15_000.0
    """um2 of the smallest fragment kept: 0.12 mm of a core biopsy; at most 5 % of the image, for small fields."""
    max_hole_um2: float = 50_000.0
    """um2 of the largest clear hole filled: clusters of fat cells and small lumens are tissue, tears are not."""
    min_pen_um2: float = 4_000.0
    """um2 of the smallest pen mark: pigment grains are smaller."""
    pen_od: float = 0.20
    """Mean OD of the core of a pen mark."""
    pen_texture_ratio: float = 0.1
    """Local OD standard deviation over OD below which a violet area is ink: dense nuclei give 0.3 and more."""
    pen_margin_um: float = 24.0
    """um that a pen mark is widened by: its edge mixes with what lies beside it."""
    frame_frac: float = 0.25
    """Share of an image side along which a neutral dark area is the holder's frame and not black ink."""
    fold_ratio: float = 1.7
    """Haematoxylin and eosin OD of a fold, both over the slide's tissue median: two layers double both."""
    fold_od: float = 0.25
    """Mean OD that a fold reaches at least, for slides whose median is very pale."""
    min_fold_um2: float = 8_000.0
    """um2 of the smallest fold: 40 um by 200 um."""
    max_fold_width_um: float = 250.0
    """um: a fold is a band; broader dark areas are dense tumour or lymphoid tissue."""
    min_fold_elongation: float = 2.0
    """Area over that of its largest inscribed circle (no unit): round dark clusters are below 2."""
    max_unreadable_frac: float = 0.005
    """Unreadable ground that reaches tissue, or a whole side of the slide, over the tissue and itself, above which the
    slide fails: it is white, and tissue that is lost must not pass for glass."""
    focus: FocusConfig | None = field(default_factory=FocusConfig)
    """How blur is found; None skips the finer read."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.mpp <= 32.0:
            raise ConfigError("the tissue map needs 1 to 32 um/px", where="tissue.mpp", found=self.mpp)
