"""The Ray cluster file passes Ray's own validation and meets our requirements."""

import re
from typing import Any

import pytest
import yaml

from tests.unit.deploy.manifests import ROOT

TEXT = (ROOT / "deploy" / "ray-up" / "aws.yaml").read_text(encoding="utf-8")


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))


def test_ray_would_refuse_an_unknown_field(config: dict[str, Any]) -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    config["available_nodes"] = {}
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(config))


def test_gpu_machines_start_from_none_on_the_spot_market_and_the_head_takes_no_actor(config: dict[str, Any]) -> None:
    types = config["available_node_types"]
    assert types["gpu"]["min_workers"] == 0 < types["gpu"]["max_workers"] <= config["max_workers"]
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert 0 < config["idle_timeout_minutes"] <= 10


def test_every_ray_start_asks_for_the_token(config: dict[str, Any]) -> None:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    starts = [command for command in commands if re.search(r"\bray start\b", command)]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert commands[0] == "chmod 600 ~/.ray/auth_token"


def test_credentials_are_roles(config: dict[str, Any]) -> None:
    profiles = [node["node_config"]["IamInstanceProfile"]["Name"] for node in config["available_node_types"].values()]
    assert len(set(profiles)) == 2, "workers may do less than the head"
    assert not re.search("aws_(access|secret)|AKIA|ssh_private_key", TEXT)
    for node in config["available_node_types"].values():
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        (disk,) = node["node_config"]["BlockDeviceMappings"]
        assert disk["Ebs"]["Encrypted"] is True


def test_installation_is_pinned(config: dict[str, Any]) -> None:
    (installation,) = [command for command in config["setup_commands"] if "pip install" in command]
    assert "--constraint ~/diagchd-batch/constraints.txt" in installation
    assert config["file_mounts"]["~/diagchd-batch/constraints.txt"] == "constraints.txt"
    assert (ROOT / "constraints.txt").is_file()
