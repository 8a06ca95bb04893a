"""All checks of one node, in the order in which its needs build on each other."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path

from ipop_core import pidfile
from ipop_core.config.build import Configuration, ConfiguredModule, load
from ipop_core.contract import CheckContext, Finding
from ipop_core.doctor.asking import Asker
from ipop_core.doctor.clock import examine_clock, examine_moves
from ipop_core.doctor.keeping import examine_certificates, examine_state, stamps
from ipop_core.doctor.stand_in import stand_in
from ipop_core.errors import ConfigError, IpopError
from ipop_core.loader import Registry


class Examination:
    """Of the node that the configuration at `path` describes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._registry = Registry()
        self.running = False

    def findings(self) -> Iterator[Finding]:
        try:
            configuration = load(self._path, self._registry)
            configuration.check_settings()
        except ConfigError as error:
            mend = f"mend that line; then: ipop-controller -c {self._path} --check"
            for line in str(error).splitlines():
                yield Finding(check="configuration", verdict="bad", found=line, mend=mend)
            yield examine_clock({})
            return
        yield Finding(check="configuration", verdict="good", found=str(self._path))
        yield from self._of(configuration)

    def _of(self, configuration: Configuration) -> Iterator[Finding]:
        node, namespace = configuration.node, configuration.namespace
        self.running = pidfile.holder(node.run) is not None
        yield examine_clock(stamps(node.state))
        yield examine_state(node.state)
        authority = None if namespace is None else namespace.authority
        yield from examine_certificates(node.state, authority, datetime.datetime.now(datetime.UTC))
        with contextlib.ExitStack() as stack:
            run: Path | None = node.run
            if not self.running:
                try:
                    run = stack.enter_context(stand_in(configuration))
                except IpopError as error:
                    run = None
                    found = f"no node can be started to look at the network: {error}"
                    yield Finding(check="start", verdict="bad", found=found, mend="see the line itself")
            asker = Asker(run)
            if self.running:
                yield from self._modules(asker)
            for module in configuration.modules:
                yield from self._checks_of(module, node.name, asker)
            if self.running and (card := (asker("link", "status") or {}).get("card")):
                configured = [module.spec.name for module in configuration.modules]
                yield from self._registry.leftovers(configured, card["name"])

    def _modules(self, asker: Asker) -> Iterator[Finding]:
        status = asker("core", "status")
        if status is None:
            found = "the controller runs, but does not answer"
            yield Finding(check="modules", verdict="bad", found=found, mend="ipop down, and start it again")
            return
        yield from examine_moves(status["clock_moved_s"])
        for module in status["modules"]:
            if module["state"] != "running":
                found = f"{module['name']} is {module['state']}, after {module['restarts']} restarts"
                yield Finding(check="modules", verdict="bad", found=found, mend="its log says why: ipop status")

    def _checks_of(self, module: ConfiguredModule, node_name: str, asker: Asker) -> Iterator[Finding]:
        context = CheckContext(node_name=node_name, settings=module.settings(), running=self.running, ask=asker)
        try:
            yield from self._registry.checks(module.spec.name, context)
        except ConfigError as error:
            mend = "tell whoever wrote this module"
            yield Finding(check=module.spec.name, verdict="unknown", found=str(error), mend=mend)
