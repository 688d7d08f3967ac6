"""kopf as the watch engine: what it may do, what it may not, and as whom."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from kubernetes.aio.client import Configuration

from trimtab.core.objects import GROUP
from trimtab.kinds import watched
from trimtab.runtime import handlers


def test_it_writes_nothing_and_leads_nobody() -> None:
    chosen = handlers.settings(watched())
    assert chosen.posting.enabled is False
    assert chosen.peering.standalone is True
    assert chosen.scanning.disabled is True
    assert chosen.watching.server_timeout is None or chosen.watching.server_timeout > 0


def test_of_other_peoples_kinds_only_our_own_objects_are_watched() -> None:
    selectors: Any = handlers.settings(watched()).watching.label_selectors
    selected = {(key.group, key.version, key.any_name): value for key, value in selectors.items()}
    others = [resource for resource in watched() if resource.group != GROUP]
    ours = "app.kubernetes.io/managed-by=trimtab"
    assert selected == {(resource.group, resource.version, resource.plural): ours for resource in others}


def test_a_watch_is_never_given_up() -> None:
    backoffs = handlers.settings(watched()).networking.error_backoffs
    assert isinstance(backoffs, handlers.Backoffs)
    assert list(itertools.islice(backoffs, 7)) == [0.5, 1, 2, 4, 8, 8, 8]
    assert list(itertools.islice(backoffs, 2)) == [0.5, 1], "each failure counts from the start"


class TestConnection:
    def test_a_token(self) -> None:
        configuration = Configuration(host="https://server:6443")
        configuration.api_key["BearerToken"] = "bearer t0ken"
        configuration.ssl_ca_cert = "/ca.crt"
        found = handlers.connection(configuration)
        assert (found.server, found.ca_path, found.insecure) == ("https://server:6443", "/ca.crt", False)
        assert (found.scheme, found.token) == ("Bearer", "t0ken")
        assert (found.certificate_path, found.private_key_path) == (None, None)

    def test_a_certificate(self) -> None:
        configuration = Configuration(host="https://server:6443")
        configuration.cert_file, configuration.key_file = "/client.crt", "/client.key"
        configuration.verify_ssl = False
        found = handlers.connection(configuration)
        assert (found.certificate_path, found.private_key_path) == ("/client.crt", "/client.key")
        assert (found.scheme, found.token, found.insecure) == (None, None, True)

    @pytest.mark.parametrize("renewals", [1, 2])
    def test_a_token_that_changes_is_read_again(self, renewals: int) -> None:
        """A pod's token is a new one every hour; kopf asks again when its own is refused."""
        configuration = Configuration(host="https://server:6443")
        count = 0

        def renew(known: Configuration) -> None:
            nonlocal count
            count += 1
            known.api_key["BearerToken"] = f"bearer number-{count}"

        configuration.refresh_api_key_hook = renew
        found = [handlers.connection(configuration).token for _ in range(renewals)]
        assert found == [f"number-{n + 1}" for n in range(renewals)]
