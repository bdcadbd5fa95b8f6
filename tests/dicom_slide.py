"""DICOM slides as scanners write them: a file for each level, and one for the label."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

TILE = 128


def write_dicom_slide(folder: Path, image: NDArray[np.uint8], mpp: float) -> list[Path]:
    """Write an image [h w 3] as a slide of one series: its levels at 1 and 1/2, and a label. Returns these files."""
    series = generate_uid()
    half = np.asarray(Image.fromarray(image).reduce(2))
    parts = (("level0", image, mpp, "VOLUME"), ("level1", half, 2 * mpp, "VOLUME"), ("label", half[:64], mpp, "LABEL"))
    return [_write(folder / f"{name}.dcm", i, series, *part) for i, (name, *part) in enumerate(parts, 1)]


def _write(path: Path, number: int, series: str, image: NDArray[np.uint8], mpp: float, flavour: str) -> Path:
    h, w = image.shape[:2]
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    d.ImageType = ["DERIVED" if number > 1 else "ORIGINAL", "PRIMARY", flavour, "NONE"]
    d.SeriesInstanceUID, d.StudyInstanceUID, d.FrameOfReferenceUID = series, generate_uid(), generate_uid()
    d.Modality, d.InstanceNumber = "SM", number
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PlanarConfiguration = 3, "YBR_FULL_422", 0
    d.BitsAllocated = d.BitsStored = 8
    d.HighBit, d.PixelRepresentation = 7, 0
    d.Rows = d.Columns = TILE
    d.TotalPixelMatrixRows, d.TotalPixelMatrixColumns = h, w
    d.ImagedVolumeWidth, d.ImagedVolumeHeight = w * mpp / 1000, h * mpp / 1000
    d.DimensionOrganizationType = "TILED_FULL"
    d.TotalPixelMatrixFocalPlanes = d.NumberOfOpticalPaths = 1
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [mpp / 1000, mpp / 1000]
    shared.PixelMeasuresSequence = [measures]
    d.SharedFunctionalGroupsSequence = [shared]
    padded = np.pad(image, ((0, -h % TILE), (0, -w % TILE), (0, 0)), mode="edge")
    tiles = [
        padded[y : y + TILE, x : x + TILE]
        for y in range(0, padded.shape[0], TILE)
        for x in range(0, padded.shape[1], TILE)
    ]
    d.NumberOfFrames = len(tiles)
    d.PixelData = encapsulate([_jpeg(tile) for tile in tiles])
    dcmwrite(path, d, enforce_file_format=True)
    return path


def _jpeg(tile: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(tile).save(data, "JPEG", quality=95)
    return data.getvalue()
