"""Policies in a real kernel, in a namespace of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

import pytest

from ipop_core.errors import IpopError
from ipop_core.lab import Laboratory, Namespace, capabilities
from ipop_modules.ipsec.policies import policies_for
from ipop_modules.ipsec.xfrm import Xfrm
from tests.lab.conftest import require

pytestmark = pytest.mark.net
INTERFACES = [ip_interface("192.168.10.10/24"), ip_interface("fd00:10::10/64")]
TAG, OTHER_TAG = 0x1234, 0x4321


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    require(capabilities().namespaces)
    with Laboratory() as lab:
        yield lab.namespace("xfrm")


def test_the_kernel_has_exactly_the_policies_with_our_tag(namespace: Namespace) -> None:
    wanted = policies_for(INTERFACES, 1)

    def work() -> tuple[int, int, int, int]:
        with Xfrm() as xfrm:
            xfrm.put_policies(wanted, TAG)
            xfrm.put_policies(wanted, OTHER_TAG)
            both = len(xfrm.policies(TAG)), len(xfrm.policies(OTHER_TAG))
            xfrm.put_policies(wanted[:3], TAG)
            return *both, len(xfrm.policies(TAG)), len(xfrm.policies(OTHER_TAG))

    assert namespace.call(work) == (len(wanted), len(wanted), 3, len(wanted))


def test_iproute2_reads_them_as_they_were_meant(namespace: Namespace) -> None:
    namespace.call(lambda: _put(policies_for(INTERFACES, 1)))
    lines = namespace.run(["ip", "xfrm", "policy"]).stdout
    assert "src 192.168.10.10/32 dst 192.168.10.0/24 dev lo \n\tdir out priority 20" in lines
    assert "proto esp reqid 4660 mode transport" in lines
    assert "proto ipv6-icmp type 135" in lines
    assert "src 192.168.10.0/24 dst 0.0.0.0/0 \n\tdir in action block priority 30" in lines


def test_without_policies_nothing_of_ours_is_left(namespace: Namespace) -> None:
    namespace.call(lambda: _put(policies_for(INTERFACES, 1)))
    namespace.call(lambda: _put([]))
    assert namespace.run(["ip", "xfrm", "policy"]).stdout == ""


def test_a_kernel_without_esp_is_told_of_in_one_line(namespace: Namespace) -> None:
    def work() -> str | None:
        with Xfrm() as xfrm:
            try:
                xfrm.try_esp(ip_address("127.0.0.1"))
            except IpopError as error:
                return str(error)
            assert xfrm.states(0) == []
            return None

    fault = namespace.call(work)
    assert fault is None or (fault.startswith("this kernel can't encrypt with ESP") and "\n" not in fault)


def _put(policies: list) -> None:  # type: ignore[type-arg]
    with Xfrm() as xfrm:
        xfrm.put_policies(policies, TAG)
