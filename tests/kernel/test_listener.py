"""A first cell is heard also by a client whose ear opened late."""

import time

import pytest
from jupyter_client.manager import KernelManager


@pytest.mark.usefixtures("jupyter")
def test_the_first_cell_waits_for_somebody_who_listens():
    manager = KernelManager(kernel_name="bastionlab")
    manager.start_kernel()
    client = manager.blocking_client()
    try:
        client.start_channels(iopub=False, stdin=False, hb=False)
        client.kernel_info()
        client.get_shell_msg(timeout=30)
        cell = client.execute("1 + 1")
        time.sleep(0.3)
        client.iopub_channel.start()
        seen = []
        while "execute_result" not in seen or seen[-1] != "status":
            message = client.get_iopub_msg(timeout=10)
            if message["parent_header"].get("msg_id") == cell:
                seen.append(message["msg_type"])
        assert client.get_shell_msg(timeout=10)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.usefixtures("jupyter")
def test_a_client_that_never_listens_is_answered_all_the_same():
    manager = KernelManager(kernel_name="bastionlab")
    manager.start_kernel()
    client = manager.blocking_client()
    try:
        client.start_channels(iopub=False, stdin=False, hb=False)
        client.kernel_info()
        client.get_shell_msg(timeout=30)
        client.execute("1 + 1")
        assert client.get_shell_msg(timeout=10)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
