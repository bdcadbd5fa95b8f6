"""Inference as a stage: a slide and its tissue in, cells and regions out."""

from tilscore.infer.run import InferConfig, InferResult, infer_slide

__all__ = ["InferConfig", "InferResult", "infer_slide"]
