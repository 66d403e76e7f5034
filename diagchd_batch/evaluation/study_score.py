"""The definition of a study's score. The evaluation and the worklist both use it, so that their calls agree.

The frames of an image file make the image's score, and the images make the study's. So a clip of 120 frames counts as
much as a still. The score of an image of which one frame was scored is that frame's probability, whatever the rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_PROBABILITY = "DECIMAL(18, 12)"

_IMAGE_SCORE_SQL: Mapping[str, str] = {
    "mean": f"CAST(sum(CAST(chd_probability AS {_PROBABILITY})) AS DOUBLE) / count(chd_probability)",
    "max": "CAST(max(chd_probability) AS DOUBLE)",
    "median": "median(CAST(chd_probability AS DOUBLE))",
    "top_k": f"CAST(list_sum(max(CAST(chd_probability AS {_PROBABILITY}), {{top_k:d}})) AS DOUBLE) "
    "/ least(count(chd_probability), {top_k:d})",
}
"""SQL aggregates of the `chd_probability` of an image's frames, float64, by the job's `evaluation.image_score`.

Means sum decimals. Decimal sums are exact, so a score does not depend on the order in which DuckDB's threads add.
Probabilities are rounded to 1e-12, which is far finer than float32.
"""

_STUDY_SCORE_SQL: Mapping[str, str] = {
    "mean": f"CAST(sum(CAST(score AS {_PROBABILITY})) AS DOUBLE) / count(score)",
    "max": "max(score)",
    "median": "median(score)",
}
"""SQL aggregates of the `score` of a study's images, float64, by the job's `evaluation.study_score`."""


@dataclass(frozen=True)
class ScoreDefinition:
    """How the frames of a study make its score.

    Attributes:
        study_score: How the scores of a study's images make the study's: ``mean``, ``max`` or ``median``.
        image_score: How the probabilities of an image's frames make the image's score: ``mean``, ``max``, ``median``,
            or ``top_k``, the mean of the highest.
        top_k: The number of frames of ``top_k``. Of an image with fewer frames, all count.
    """

    study_score: str = "mean"
    image_score: str = "mean"
    top_k: int = 3

    @classmethod
    def of(cls, evaluation: Mapping[str, Any]) -> Self:
        """Return the definition in an `evaluation` block, as a job file or a run's record holds it.

        Args:
            evaluation: Keys and values of the block. A key that a record of an earlier version lacks has its default.
        """
        known = {name: evaluation[name] for name in cls.__dataclass_fields__ if name in evaluation}
        return cls(**known)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of metrics tables that state the definition."""
        top_k = self.top_k if self.image_score == "top_k" else None
        return {"study_score": self.study_score, "image_score": self.image_score, "top_k": top_k}

    @property
    def image_sql(self) -> str:
        """SQL aggregate over an image's frames. The score is null where no frame was scored."""
        of_several = _IMAGE_SCORE_SQL[self.image_score].format(top_k=self.top_k)
        return f"CASE count(chd_probability) WHEN 1 THEN CAST(max(chd_probability) AS DOUBLE) ELSE {of_several} END"

    @property
    def study_sql(self) -> str:
        """SQL aggregate over the column `score` of a study's images. It leaves out images without a score."""
        return _STUDY_SCORE_SQL[self.study_score]

    @property
    def current_studies_sql(self) -> str:
        """SELECT of `lineage`, `study_id` and `score` from the view `current` of `query`."""
        images = (
            f"SELECT lineage, study_id, {self.image_sql} AS score FROM current GROUP BY lineage, study_id, image_id"
        )
        return f"SELECT lineage, study_id, {self.study_sql} AS score FROM ({images}) GROUP BY lineage, study_id"
