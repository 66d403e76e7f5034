"""Performance of one rater, or of one rater against another: accuracy, discrimination, calibration, segmentation."""
