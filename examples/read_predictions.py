"""Read the predictions of an output into pandas and rank its studies.

python examples/read_predictions.py out/sample
"""

import argparse

from diagchd_batch.results import open_output

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("output", help="a directory, or s3://bucket/prefix")
arguments = parser.parse_args()

output = open_output(arguments.output)

# One row is a frame, or a file that failed. `predictions()` is a pyarrow data set, so pass the columns that you need.
columns = ["run_id", "study_id", "image_id", "status", "error_code", "chd_probability", "quality_flags"]
frames = output.predictions().to_table(columns=columns).to_pandas()
print(f"{len(frames)} frames of {frames['study_id'].nunique()} studies")

scored = frames[frames["status"] == "ok"]
images = scored.groupby(["study_id", "image_id"])["chd_probability"].mean()  # a clip counts as much as a still
studies = images.groupby("study_id").agg(["mean", "max", "count"])
print("\nThe five studies with the highest mean probability:")
print(studies.sort_values("mean", ascending=False).head(5).round(3).to_string())

flags = scored["quality_flags"].explode().dropna().value_counts()
print("\nFrames with a quality flag:")
print(flags.to_string() if len(flags) else "none")

failures = frames.loc[frames["status"] != "ok", "error_code"].value_counts()
print("\nFailures:")
print(failures.to_string() if len(failures) else "none")
