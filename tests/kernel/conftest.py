"""A real server with Titanic and a slow table, the BastionLab kernel installed in a folder of the tests, and a client to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from bastion_server import start
from kernel_client import Client, Stage, close_kernel, open_kernel

from bastion import Connection, Identity
from bastion.client.endpoints import write_profile
from bastion.policy import Policy
from bastion_kernel.install import install

TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Jupyter's folders in a folder of the tests, with the kernel installed there."""
    folder = tmp_path_factory.mktemp("jupyter")
    install(prefix=str(folder))
    names = {
        "JUPYTER_PATH": str(folder / "share" / "jupyter"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "BASTION_HISTORY": str(folder / "history.sqlite"),
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    yield folder
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server of each file's own: what one file asks and leaves open is no other's past."""
    folder = tmp_path_factory.mktemp("stage")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    profile = folder / "profile.toml"
    before = os.environ.get("BASTION_PROFILE")
    os.environ["BASTION_PROFILE"] = str(profile)
    with start(folder / "server", owners=[olga], users=[alice]) as server:
        write_profile(server.endpoint, server.server_key, str(folder / "keys" / "alice.key"))
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            send = owner.client.polars.send_df
            send(pl.read_csv(TITANIC), name="titanic", sanitized_columns=["Name"], unit="row")
            send(pl.DataFrame({"x": range(5000)}), Policy.open(), name="slow", unit="row")
            yield Stage(server.endpoint, server.server_key, profile, owner, olga)
    if before is None:
        os.environ.pop("BASTION_PROFILE", None)
    else:
        os.environ["BASTION_PROFILE"] = before


@pytest.fixture(scope="module")
def kernel(jupyter: Path, stage: Stage) -> Iterator[Client]:
    """A kernel with alice connected."""
    client = open_kernel()
    assert client.run("connect()").status == "ok"
    yield client
    close_kernel(client)
