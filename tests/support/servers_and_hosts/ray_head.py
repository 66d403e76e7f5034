"""Runs a Ray head in a separate process. It prints its address and runs until its standard input is closed.

    python tests/support/servers_and_hosts/ray_head.py DIRECTORY [GPUS]

GPUS is the number that the node claims. It need not have them.
"""

import sys

import ray

if __name__ == "__main__":
    context = ray.init(
        address="local",
        num_cpus=2,
        num_gpus=int(sys.argv[2]) if len(sys.argv) > 2 else 0,
        object_store_memory=128 << 20,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=sys.argv[1],
    )
    print(context.address_info["gcs_address"], flush=True)  # type: ignore[attr-defined]
    sys.stdin.read()
    ray.shutdown()
