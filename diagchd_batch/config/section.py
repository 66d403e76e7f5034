"""What the blocks of the job file are made of: their base class, and the types of numbers that they share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]

LARGEST_INTEGER = 2**63 - 1
"""The largest whole number of the tables and of the random generators."""

LARGEST_NUMBER = 1e9
"""The largest number of seconds (30 years) and of cores. The waits of Python take no much larger one."""

PositiveInt = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
PositiveFloat = Annotated[float, Field(gt=0, le=LARGEST_NUMBER, allow_inf_nan=False)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A block of the job file. Unknown keys are refused, and values cannot be changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
