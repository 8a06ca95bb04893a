"""Finds modules by the entry-point group `ipop.modules`, imports only those that are wanted, and puts them in order."""

from __future__ import annotations

import contextlib
import difflib
import graphlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from ipop_core.contract import CONTRACT_VERSION, ENTRY_POINT_GROUP, CheckContext, Finding, Hooks, ModuleSpec
from ipop_core.errors import ConfigError
from ipop_core.faults import show_place

if TYPE_CHECKING:
    import click


class Registry:
    """The modules that are installed; a plugin is imported when it is selected, and never before."""

    def __init__(self) -> None:
        self._installed: dict[str, list[EntryPoint]] = {}
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            offers = self._installed.setdefault(entry_point.name, [])
            if all(entry_point.value != offer.value for offer in offers):  # a checkout may be seen twice
                offers.append(entry_point)
        self._plugins = pluggy.PluginManager("ipop")
        self._plugins.add_hookspecs(Hooks)

    @property
    def hook(self) -> Any:
        """Calls the hooks of every selected module: `registry.hook.ipop_process_started(...)`."""
        return self._plugins.hook

    def installed(self) -> list[str]:
        """Names of all modules that are installed, sorted."""
        return sorted(self._installed)

    def select(self, names: Iterable[str]) -> tuple[dict[str, ModuleSpec], list[ConfigError]]:
        """Import these modules' plugins. Returns the specifications of those that are sound, and every fault."""
        specs: dict[str, ModuleSpec] = {}
        faults: list[ConfigError] = []
        for name in names:
            try:
                specs[name] = self._specification(name, self._plugin(name))
            except ConfigError as fault:
                faults.append(fault)
        return specs, faults

    def commands(self, first: Sequence[str], taken: Container[str] = ()) -> tuple[dict[str, click.Command], list[str]]:
        """The subcommands of all installed modules, and a line for each module that can't bring its own.

        Of two commands with one name the earlier counts: `taken` are the names that are there already, modules named
        in `first` come first, the others by name.
        """
        commands: dict[str, click.Command] = {}
        warnings: list[str] = []
        ahead = [name for name in first if name in self._installed]
        for name in [*ahead, *(name for name in self.installed() if name not in ahead)]:
            try:
                for command in self._commands_of(name):
                    title = str(command.name)
                    if title in taken or title in commands:
                        warnings.append(f"modules.{name}: its command {title} is passed over: there is one already")
                    else:
                        commands[title] = command
            except ConfigError as fault:
                warnings.append(str(fault))
        return commands, warnings

    def checks(self, name: str, context: CheckContext) -> list[Finding]:
        """What the module's own checks find. Raises ConfigError for checks that break."""
        place = show_place(("modules", name))
        found: list[Finding] = []
        for answer in self._call(place, "ipop_checks", self._plugin(name), context=context):
            if not isinstance(answer, list | tuple) or not all(isinstance(item, Finding) for item in answer):
                raise ConfigError(place, "its hook ipop_checks returns something else than a list of Findings")
            found += answer
        return found

    def leftovers(self, configured: Container[str], card: str) -> list[Finding]:
        """What earlier runs of the installed modules that are not configured left for this card."""
        found: list[Finding] = []
        for name in self.installed():
            if name not in configured:
                with contextlib.suppress(ConfigError):  # a module that is not wanted can't be at fault
                    for answer in self._call(
                        show_place(("modules", name)), "ipop_leftovers", self._plugin(name), card=card
                    ):
                        found += answer
        return found

    def hand_over(self, name: str, card: str) -> None:
        """Let every other installed module of this one's role take away what its earlier runs left for the card.

        For a module that guards the card, once nothing unprotected passes. Raises ConfigError for what can't be taken
        away.
        """
        specs, _ = self.select(self.installed())
        for other, spec in specs.items():
            if other != name and spec.role == specs[name].role:
                self._call(show_place(("modules", other)), "ipop_handed_over", self._plugin(other), card=card)

    def _plugin(self, name: str) -> Any:
        """The registered plugin of that name."""
        if plugin := self._plugins.get_plugin(name):
            return plugin
        place = show_place(("modules", name))
        plugin = self._entry_point(name, place)
        try:
            self._plugins.register(plugin, name)
            self._plugins.check_pending()  # a misspelt hook would otherwise just never be called
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._plugins.has_plugin(name):
                self._plugins.unregister(name=name)
            raise ConfigError(place, f"its plugin does not fit: {_one_line(error)}") from None
        return plugin

    def _entry_point(self, name: str, place: str) -> Any:
        offers = self._installed.get(name, [])
        if not offers:
            nearest = difflib.get_close_matches(name, self._installed, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(self.installed()) or 'none'}"
            raise ConfigError(place, f"no module of this name is installed; {hint}")
        if len(offers) > 1:
            packages = sorted(str(offer.dist.name if offer.dist else offer.value) for offer in offers)
            raise ConfigError(place, f"offered by {' and '.join(packages)}; uninstall one of them")
        try:
            return offers[0].load()
        except (Exception, SystemExit) as error:  # a stranger's code runs here
            raise ConfigError(place, f"its plugin can't be imported: {_one_line(error)}") from None

    def _specification(self, name: str, plugin: Any) -> ModuleSpec:
        place = show_place(("modules", name))
        answers = self._call(place, "ipop_module", plugin)
        if len(answers) != 1 or not isinstance(answers[0], ModuleSpec):
            raise ConfigError(place, "its hook ipop_module returns no ModuleSpec")
        spec = answers[0]
        if spec.contract != CONTRACT_VERSION:
            fault = f"was written for contract {spec.contract}; this IPOP has contract {CONTRACT_VERSION}"
            raise ConfigError(place, fault)
        if spec.name != name:
            raise ConfigError(place, f"calls itself {spec.name!r} in its ModuleSpec")
        return spec

    def _commands_of(self, name: str) -> Iterator[click.Command]:
        # Imported here: a controller brings no commands.
        import click  # noqa: PLC0415

        place = show_place(("modules", name))
        for answer in self._call(place, "ipop_commands", self._plugin(name)):
            if not isinstance(answer, list | tuple) or not all(isinstance(item, click.Command) for item in answer):
                raise ConfigError(place, "its hook ipop_commands returns something else than a list of click commands")
            yield from answer

    def _call(self, place: str, hook: str, plugin: Any, **arguments: Any) -> list[Any]:
        """Call one hook of one plugin."""
        others = [other for other in self._plugins.get_plugins() if other is not plugin]
        try:
            answers: list[Any] = self._plugins.subset_hook_caller(hook, remove_plugins=others)(**arguments)
        except (Exception, SystemExit) as error:  # a stranger's code runs here
            raise ConfigError(place, f"its hook {hook} failed: {_one_line(error)}") from None
        return answers


def start_order(
    specs: Mapping[str, ModuleSpec], *, complete: bool = True
) -> tuple[list[ModuleSpec], list[ConfigError]]:
    """The modules, each after those whose roles it needs, and every fault of their roles.

    `complete` False: some module could not be read, so a missing role is not complained of as well.
    """
    fillers: dict[str, ModuleSpec] = {}
    faults: list[ConfigError] = []
    for spec in specs.values():
        if (other := fillers.setdefault(spec.role, spec)) is not spec:
            fault = f"fills the role {spec.role}, which modules.{other.name} fills already; remove one of them"
            faults.append(ConfigError(f"modules.{spec.name}", fault))
    graph: dict[str, list[str]] = {}
    for spec in specs.values():
        graph[spec.name] = [fillers[role].name for role in spec.needs if role in fillers]
        if complete:
            for verb, roles in (("needs", spec.needs), ("guards", spec.guards)):
                faults += [
                    ConfigError(f"modules.{spec.name}", f"{verb} the role {role}, which no module fills")
                    for role in roles
                    if role not in fillers and (verb == "needs" or role not in spec.needs)
                ]
    try:
        return [specs[name] for name in graphlib.TopologicalSorter(graph).static_order()], faults
    except graphlib.CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        return list(specs.values()), [*faults, ConfigError("modules", f"need each other in a circle: {circle}")]


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
