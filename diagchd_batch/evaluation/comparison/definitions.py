"""Definitions of the endpoints that only a comparison of runs has."""

DEFINITIONS = {
    "mask_dice_mean": "mean over frames of the Dice of the two runs' masks; both empty: left out, one empty: 0",
    "mask_dice_of_study_means": "mean over studies of the frames' mean Dice of the two runs' masks",
    "mask_dice_pooled": "Dice of the two runs' masks, all frames' pixels pooled",
    "mask_dice_minimum": "smallest Dice of the two runs' masks of a frame",
    "mask_dice_q1": "lower quartile over frames of the Dice of the two runs' masks",
    "mask_dice_median": "median over frames of the Dice of the two runs' masks",
    "pixel_agreement": "share of all pixels that both runs give the same class",
    "drift": "second − first run's study score; interval of the mean by subject bootstrap",
}
