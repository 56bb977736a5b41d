"""tmp"""
from __future__ import annotations
from contexts.context import Vector
from contexts.encode import Encoder
from contexts.extract import PageText
def first_vector(encoder: Encoder, text: PageText) -> Vector:
    return encoder.encode([text.for_encoder()])[0]
def better_vector(encoder: Encoder, text: PageText) -> Vector:
    return encoder.encode([text.for_encoder()])[0]
