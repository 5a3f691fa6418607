"""A first cell is heard also by a client whose ear opened late."""

import time
from collections.abc import Iterator

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager


@pytest.fixture
def deaf(jupyter: object) -> Iterator[BlockingKernelClient]:
    """A client of a fresh kernel that asks on shell and does not listen to iopub."""
    manager = KernelManager(kernel_name="bastionlab")
    manager.start_kernel()
    client = manager.blocking_client()
    try:
        client.start_channels(iopub=False, stdin=False, hb=False)
        client.kernel_info()
        client.get_shell_msg(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_the_first_cell_waits_for_somebody_who_listens(deaf):
    cell = deaf.execute("1 + 1")
    time.sleep(0.3)
    deaf.iopub_channel.start()
    seen = []
    while "execute_result" not in seen or seen[-1] != "status":
        message = deaf.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") == cell:
            seen.append(message["msg_type"])
    assert deaf.get_shell_msg(timeout=60)["content"]["status"] == "ok"


def test_a_client_that_never_listens_is_answered_all_the_same(deaf):
    deaf.execute("1 + 1")
    assert deaf.get_shell_msg(timeout=60)["content"]["status"] == "ok"
