import os

# before torch is imported, and for child processes: more threads only wait on small tensors
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

import support

settings.register_profile(
    "project",
    deadline=None,  # timings are not asserted in tests
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("project")
torch.set_num_threads(1)


@pytest.fixture
def toy(tmp_path):
    """Folder of the toy world."""
    return support.write_toy(tmp_path / "data")


@pytest.fixture
def blocks(tmp_path):
    """Folder of a small world that can be learned."""
    return support.write_block_world(tmp_path / "data")


@pytest.fixture
def shared():
    """Folder of the real data sets; a test that needs it is skipped where it is absent."""
    if not support.SHARED.is_dir():
        pytest.skip(f"real data is not at hand: there is no {support.SHARED}")
    return support.SHARED
