"""Creates a RayJob from its manifest, unless the last one of that series still runs. The nightly CronJob runs it.

It needs only the standard library and PyYAML. It speaks to the API server with the pod's own service account, which may
only create, list and delete RayJobs in its namespace. The exit code is 0 if the RayJob was created or is not needed,
and 1 if the API server refused or did not answer.
"""

import argparse
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERIES_LABEL = "diagchd-batch/series"
ENDED = {"Complete", "Failed", "ValidationFailed"}


class ApiServer:
    """The RayJobs of this pod's namespace, through the Kubernetes API."""

    def __init__(self, service_account: Path, address: str) -> None:
        self._token_file = service_account / "token"
        namespace = (service_account / "namespace").read_text(encoding="utf-8").strip()
        self._base = f"https://{address}/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
        self._tls = ssl.create_default_context(cafile=str(service_account / "ca.crt"))

    def list_series(self, series: str) -> list[dict[str, Any]]:
        return self._request("GET", f"?labelSelector={SERIES_LABEL}%3D{series}")["items"]

    def create(self, rayjob: dict[str, Any]) -> str:
        return self._request("POST", "", rayjob)["metadata"]["name"]

    def delete(self, name: str) -> None:
        self._request("DELETE", f"/{name}")

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, context=self._tls, timeout=30) as response:
            return json.load(response)


def next_instant(clock: time, now: datetime) -> datetime:
    """Return the next instant after `now` at which a clock in `now`'s time zone shows `clock`."""
    instant = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return instant if instant > now else instant + timedelta(days=1)


def rayjob_of_series(manifest: dict[str, Any], series: str, options: str, until: datetime | None) -> dict[str, Any]:
    """Return the manifest with the name of its series, and with `options` added to its entry point.

    The end is an instant and not a time of day, because a retry by KubeRay after that instant must stop at once instead
    of running into the next night, and because the cluster's pods may have another time zone.
    """
    words = [manifest["spec"]["entrypoint"], options, f"--until {until.isoformat()}" if until else ""]
    metadata = dict(manifest["metadata"], generateName=f"{series}-")
    metadata["labels"] = {**metadata.get("labels", {}), SERIES_LABEL: series}
    metadata.pop("namespace", None)
    return {**manifest, "metadata": metadata, "spec": {**manifest["spec"], "entrypoint": " ".join(filter(None, words))}}


def run(arguments: argparse.Namespace, server: ApiServer, now: datetime) -> str:
    """Create the RayJob, delete all but the newest finished ones, and return a sentence about what was done."""
    jobs = sorted(server.list_series(arguments.name), key=lambda job: job["metadata"]["creationTimestamp"])
    ended = [job for job in jobs if job.get("status", {}).get("jobDeploymentStatus") in ENDED]
    for job in ended[: max(0, len(ended) - arguments.keep)]:
        server.delete(job["metadata"]["name"])
    running = [job["metadata"]["name"] for job in jobs if job not in ended]
    if running:
        return f"{', '.join(running)} still runs; none created"
    manifest = yaml.safe_load(arguments.manifest.read_text(encoding="utf-8"))
    until = next_instant(arguments.until, now) if arguments.until else None
    return f"created {server.create(rayjob_of_series(manifest, arguments.name, arguments.options, until))}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Create a RayJob from its manifest, one at a time.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--name", required=True, help="name of the series; each RayJob gets it with a suffix")
    parser.add_argument("--options", default="", help="added to the entry point")
    parser.add_argument(
        "--until", type=time.fromisoformat, help="time of day at which to stop, in the time zone that TZ names"
    )
    parser.add_argument("--keep", type=int, default=14, help="finished RayJobs of the series to keep")
    arguments = parser.parse_args()
    address = f"{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    try:
        print(run(arguments, ApiServer(SERVICE_ACCOUNT, address), datetime.now(ZoneInfo(os.environ.get("TZ", "UTC")))))
    except urllib.error.HTTPError as error:
        print(f"the API server refused: {error.code} {error.read().decode(errors='replace')}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"the API server cannot be reached at {address}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
