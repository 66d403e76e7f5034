"""A Ray head in a process of its own: prints its address and lives until its standard input is closed.

python tests/support/ray_head.py DIRECTORY [GPUS]     a node may claim GPUs that it does not have
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
