"""The card of a technique: what a person should know before believing it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Response = Literal["accuracy", "nll", "ece", "stability", "minutes"]
"""A column of the results: accuracy in percent, negative log-likelihood, expected calibration error, accuracy kept at
the old resolution or on the base model's task, minutes of an iteration."""


class Card(BaseModel):
    """What a technique promises, why, from where, and at what cost. Each text is one or two plain sentences."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    claim: str = Field(description="what it promises, on what, and how much")
    response: Response = Field(description="the column of the results that the claim is about")
    why: str = Field(description="the mechanism: when and why it helps")
    paper: str = Field(description="authors, year, title and link")
    defaults: str = Field(description="the default settings and where they come from")
    cost: str = Field(description="what it adds to training or inference time and memory")
    fails: str = Field(description="when it does not help or hurts")
