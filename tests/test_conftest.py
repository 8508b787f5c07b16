"""What the tests themselves rely on."""

import distributed
import pytest
from conftest import close_client_left
from hypothesis import HealthCheck, settings


def test_close_client_left__tells_and_closes(workers):
    assert not close_client_left()
    left = distributed.Client(workers)
    assert close_client_left()
    assert left.status == "closed"
    with pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()
    assert workers.status.name == "running"  # it goes on for the next test


def test_settings__no_time_limits_of_single_examples():
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check


def test_timeout__is_on(request):
    assert request.config.getini("timeout") == "600"
