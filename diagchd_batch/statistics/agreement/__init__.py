"""Agreement between raters, without a reference standard."""

from diagchd_batch.statistics.agreement.coefficients import cohen_kappa, fleiss_kappa, gwet_ac1
from diagchd_batch.statistics.agreement.krippendorff import krippendorff_alpha

__all__ = ["cohen_kappa", "fleiss_kappa", "gwet_ac1", "krippendorff_alpha"]
