"""What the tests of the queues share: a gauge of what runs at once."""

import pytest

from tests.queues.gauge import Gauge


@pytest.fixture
def gauge() -> Gauge:
    """Return a gauge that has counted nothing yet."""
    return Gauge()
