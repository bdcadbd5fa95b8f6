"""Every constant of the score, each with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tilscore.config import check_ranges
from tilscore.score.bed import BedConfig
from tilscore.score.interval import IntervalConfig


@dataclass(frozen=True)
class InfiltratedConfig:
    """The share of stroma that is infiltrated, gaps between the cells included."""

    radius_um: float = 10.0
    """Stroma this near to a TIL is infiltrated: a lymphocyte (7 to 8 um across) and half the way to a neighbour that
    is two cells away. Neighbours up to 20 um apart join into one infiltrate. At least a pixel of the region map: a
    smaller disc may cover no pixel by half, and the interval, which is made of pixels, would miss it."""
    max_gap_um2: float = 1000.0
    """Enclosed gaps up to this size are closed: some 10 cells' room. A pathologist counts an infiltrate with them."""
    max_gap_um: float = 60.0
    """A gap that is longer than this is none, whatever its area."""

    def __post_init__(self) -> None:
        check_ranges(self, "score.infiltrated", radius_um=(4, 200), max_gap_um2=(0, 1e5), max_gap_um=(0, 1000))


@dataclass(frozen=True)
class AggregateConfig:
    """Lymphoid aggregates: dense clusters of inflammatory cells. A working definition; there is no agreed one in
    numbers of cells on H&E, so they are flagged for the eye and not taken out."""

    sigma_um: float = 20.0
    """Width (Gaussian sigma) over which cells are counted: two to three cells each way."""
    dense_per_mm2: float = 8000.0
    """Inflammatory cells per mm2 from which a place is packed: nuclei about 12 um apart, no room for stroma."""
    min_mm2: float = 0.02
    """Smallest packed place: 160 um across, some 160 cells."""
    exclude: bool = False
    """True takes them out of the evaluable stroma. The guideline scores the mean of the stroma, no hotspots left out;
    how the score would be without them stands in the account in either case."""

    def __post_init__(self) -> None:
        check_ranges(self, "score.aggregates", sigma_um=(1, 500), dense_per_mm2=(1, 1e6), min_mm2=(0, 1000))


@dataclass(frozen=True)
class CoreConfig:
    """What is a core, or a fragment of one."""

    join_um: float = 100.0
    """Pieces of tissue this near to each other are one core: a core that has a crack stays one."""
    min_mm2: float = 0.02
    """Smaller fragments are not numbered (debris); what lies in them counts all the same, as `rest`."""

    def __post_init__(self) -> None:
        check_ranges(self, "score.cores", join_um=(0, 5000), min_mm2=(0, 1000))


@dataclass(frozen=True)
class CompatConfig:
    """What the definitions of other systems need beside cells and areas."""

    patch_um: float = 50.0
    """Side of a patch of the TIL maps."""
    patch_min_tils: int = 2
    """TILs from which such a patch is positive (Abousamra et al. 2022, Front Oncol 11:806603)."""
    patch_min_tissue_frac: float = 0.5
    """Share of a patch that must be evaluable (stroma or tumour of the bed) for it to be counted."""
    tilab_patch_um: float = 100.0
    """Side of the squares over which TILs and tumour cells are compared (Morisita-Horn)."""

    def __post_init__(self) -> None:
        sides = {"patch_um": (10, 5000), "tilab_patch_um": (10, 5000)}
        check_ranges(self, "score.compat", patch_min_tils=(1, 1e6), patch_min_tissue_frac=(0, 1), **sides)


@dataclass(frozen=True)
class ScoreConfig:
    """What is counted, and from when on there is a score."""

    bed: BedConfig = field(default_factory=BedConfig)
    area_per_til_um2: float = 28.3
    """Area of one TIL in the sTIL area %, declared: a disc of 6 um, the nucleus of a lymphocyte in fixed tissue. Others
    declare 64 to 113 um2, which counts cytoplasm and gaps too. The density is free of this choice."""
    min_prob: float = 0.0
    """Inflammatory cells of a lower probability do not count. The model's detection threshold was applied before, so 0
    counts all cells of the file, at the operating point that the model was set to."""
    min_tumour_mm2: float = 0.01
    """Less tumour than this in all is not trusted to be tumour (0.1 x 0.1 mm). Not asked of a given area."""
    little_tumour_mm2: float = 0.02
    """Below it the score carries the flag `little_tumour`: a bed around so few cells may be a bed around a mistake."""
    min_stroma_mm2: float = 0.02
    """Below it a single cell moves the density by 50 per mm2: no score."""
    little_stroma_mm2: float = 0.1
    """Below it the score carries the flag `little_stroma`."""
    benign_band_um: float = 200.0
    """Stroma this near to a drawn benign or in situ area, and nearer to it than to an invasive nest, does not count.
    The guideline (Salgado 2015) leaves out TILs around DCIS and lobules without a width; 0.2 mm is the nearest of the
    periductal distances that Toss et al. 2018 tried."""
    edge_um: float = 0.0
    """Tissue of the bed this near to glass does not count (crushed or dried rims of cores). Off: on sound cores it
    would throw tissue away; set some 50 um where a laboratory's cores are crushed along the rim."""
    contact_um: float = 12.0
    """A TIL in stroma this near to tumour touches it: its own radius, and one cell between centre and nest. Three
    pixels of the region map."""
    infiltrated: InfiltratedConfig = field(default_factory=InfiltratedConfig)
    aggregates: AggregateConfig = field(default_factory=AggregateConfig)
    cores: CoreConfig = field(default_factory=CoreConfig)
    compat: CompatConfig = field(default_factory=CompatConfig)
    interval: IntervalConfig = field(default_factory=IntervalConfig)
    calibration: Path | None = None
    """JSON of a calibration to pathologists' sTIL % (as `tilscore cohort calibrate` writes it)."""
    wide_interval_frac: float = 0.25
    """Half the 95 % interval over the density; above it the score carries the flag `wide_interval`: +- 5 points at
    20 %."""
    wide_interval_per_mm2: float = 50.0
    """An interval of less than this on either side is never called wide: near 0 every share is large."""
    seed: int = 0
    """Of the draws behind the intervals: the same slide has the same interval."""

    def __post_init__(self) -> None:
        areas = dict.fromkeys(("min_tumour_mm2", "little_tumour_mm2", "min_stroma_mm2", "little_stroma_mm2"), (0, 1e4))
        widths = dict.fromkeys(("benign_band_um", "edge_um", "contact_um"), (0, 5000))
        wide = {"wide_interval_frac": (0, 100), "wide_interval_per_mm2": (0, 1e5)}
        shares = {"min_prob": (0, 1), "area_per_til_um2": (1, 1000)}
        check_ranges(self, "score", **areas, **widths, **wide, **shares, seed=(0, 2**32))
