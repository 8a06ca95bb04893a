"""The ring: join it, keep near links to the nearest members, find and merge rings that are apart.

What makes it converge: neighbours tell each other their near neighbours, a node that hears of a nearer one links to it,
and every now and then a node asks, through a link that is not near, who is nearest to itself (`Join`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.acquaintances import Acquaintances
from ipop_modules.topology.protocol.chance import Random, pick, request_number
from ipop_modules.topology.protocol.effects import Connect, Joined, Release, Routes
from ipop_modules.topology.protocol.founding import founding_at
from ipop_modules.topology.protocol.link import HELLO_NEAR, Link
from ipop_modules.topology.protocol.messages import MAX_HOPS, MAX_NEAR, Hello, Join, JoinAnswer
from ipop_modules.topology.protocol.neighbourhood import NEAR, estimate_size, near_targets, nearest_members
from ipop_modules.topology.protocol.outbox import Outbox
from ipop_modules.topology.protocol.probing import Probing

PATIENCE: Final = 3.0
"""Seconds after which a newcomer that knows its place joins without the neighbours that it can't reach."""


class Ring:
    def __init__(self, me: bytes, random: Random, now: float) -> None:
        self.me = me
        self.member = False
        self.joined_at: float | None = None
        self.links: dict[bytes, Link] = {}
        self.near: tuple[bytes, ...] = ()
        """Ring members next to this node, to which a direct link is up."""
        self.gained: set[bytes] = set()
        """Near neighbours that are new, or that forgot what they stored, since somebody cleared this."""
        self.out = Outbox(me, self.links.__contains__, self.is_closest)
        self._random = random
        self._life = request_number(random)
        self._heard = Acquaintances(me, random)
        self._wanted: set[bytes] = set()
        self._placed_at: float | None = None
        self._linked_since = now
        """Since when it has had some link or, having none, has had none."""
        self._probing = Probing(random)
        self._routes: Routes | None = None

    # What happens to links.

    def link_up(self, node: bytes, initiator: bool, now: float) -> None:
        if node == self.me:
            return
        self._heard.forgive(node)
        if node not in self.links:
            self._linked_since = self._linked_since if self.links else now
            self.links[node] = Link(now, initiator)
            self._say_hello(node, ask=True, now=now)
        self._review(now)

    def link_down(self, node: bytes, now: float) -> None:
        if self.links.pop(node, None) is None:
            return
        if not self.links:
            self._linked_since = now
        if not self.member and not self._member_links():
            self._placed_at = None
        if node in self._wanted:
            self._wanted.discard(node)
            self._heard.suspect(node, now)
            self._probing.soon(now)
        self._review(now)

    def connect_failed(self, node: bytes, now: float) -> None:
        if node in self.links or node not in self._wanted:
            return
        self._forget_wish(node)
        self._heard.failed(node, now)
        self._review(now)

    def relink(self, up: Mapping[bytes, Collection[str]], now: float) -> None:
        """The link module, or this one, was restarted: these nodes have direct links, wanted for these reasons.

        Near links that outlived this module mean that it was in the ring, and its neighbours still route to it.
        """
        for node in [node for node in self.links if node not in up]:
            self.link_down(node, now)
        self._routes = None
        self._wanted = {node for node, kinds in up.items() if "near" in kinds and node != self.me}
        if self._wanted and not self.member:
            for node in self._wanted:
                self.links.setdefault(node, Link(now, initiator=False)).member = True
            self._become_member(now)
        for node, kinds in up.items():
            self.link_up(node, bool(kinds), now)
        for node in self.links:
            self._say_hello(node, ask=True, now=now)
        self._review(now)

    # What neighbours say.

    def on_hello(self, hello: Hello, sender: bytes, now: float) -> None:
        link = self.links.get(sender)
        if link is None:
            return
        first = not link.member and hello.member
        if link.life not in (None, hello.life) and sender in self.near:
            self.gained.add(sender)
        if link.member is None:
            link.unanswered = 0
            link.hello_at = now + HELLO_NEAR
        link.member, link.life = hello.member, hello.life
        self._heard.hear((node for node in hello.near if node not in self.links), sender, now)
        if hello.ask:
            self._say_hello(sender, ask=False, now=now)
        self._review(now)
        if first and (not self.member or sender not in self.near or len(self.near) < 2 * NEAR):
            self._join_through(sender, now)

    def on_join(self, join: Join, sender: bytes, now: float) -> None:
        if not self.member or join.asker == self.me:
            return
        if join.asker == sender:
            self._heard.forgive(join.asker)
        others = [node for node in self._member_links() if node not in (join.asker, sender)]
        following = ids.closest(join.asker, others)
        if following and ids.distance(following, join.asker) < ids.distance(self.me, join.asker):
            if join.hops < MAX_HOPS:
                self.out.to_neighbour(following, Join(join.number, join.asker, join.via, join.hops + 1))
            return
        near = (self.me, *(node for node in self.near if node != join.asker))
        self.out.to_node(join.asker, join.via, JoinAnswer(join.number, near))

    def on_join_answer(self, answer: JoinAnswer, now: float) -> None:
        via = self._probing.answered(answer.number)
        if via is None:
            return
        if self._placed_at is None:
            self._placed_at = now
        self._heard.hear((node for node in answer.near if node not in self.links), via, now)
        self._review(now)

    # Time.

    def wake(self, now: float) -> None:
        for node, link in self.links.items():
            if link.hello_at <= now:
                self._say_hello(node, ask=link.member is None, now=now)
        if self._probing.due is not None and self._probing.due <= now:
            self._probe(now)
        founding = self._founding_at()
        if founding is not None and founding <= now:
            self._placed_at = now
            self._become_member(now)
        self._review(now)

    def next_wake(self, now: float) -> float | None:
        times: list[float | None] = [link.hello_at for link in self.links.values()]
        times += [self._probing.due, self._founding_at(), self._heard.next_forgiven(now)]
        if not self.member and self._placed_at is not None and self.links:
            times.append(max(self._placed_at + PATIENCE, now + 0.1))
        return min((time for time in times if time is not None), default=None)

    # What others ask of the ring.

    def is_closest(self, key: bytes) -> bool:
        """Whether this node is, as far as it knows, the ring member nearest to `key`."""
        return self.member and ids.closest(key, [self.me, *self._member_links()]) == self.me

    @property
    def size_estimate(self) -> int:
        return estimate_size(self.me, self.near) if self.member else 0

    def neighbours(self) -> list[tuple[bytes, str]]:
        """Direct neighbours, and whether each is near, another ring member, or not in the ring."""
        return [
            (node, "near" if node in self.near else "member" if link.member else "outside")
            for node, link in self.links.items()
        ]

    # The rules.

    def _review(self, now: float) -> None:
        """Bring wishes, membership, the near list and the routes in line with what is known now."""
        if self._placed_at is not None:
            targets = self._targets(now)
            self._want(targets, now)
            if not self.member and self._has_settled(targets, now):
                self._become_member(now)
        near = nearest_members(self.me, self._member_links()) if self.member else ()
        if set(near) != set(self.near):
            self.gained |= set(near) - set(self.near)
            self.near = near
            for node in self.links:
                if node in self._wanted:
                    self._say_hello(node, ask=False, now=now)
        self.near = near
        self._push_routes()

    def _targets(self, now: float) -> list[bytes]:
        known = dict.fromkeys([*self.links, *self._heard.candidates(now)])
        return near_targets(self.me, known, self._counts)

    def _counts(self, node: bytes) -> bool:
        link = self.links.get(node)
        return link.member is True if link else not self._heard.is_suspect(node)

    def _want(self, targets: Iterable[bytes], now: float) -> None:
        targets = list(targets)
        for node in targets:
            if node not in self._wanted:
                self._wanted.add(node)
                self.out.emit(Connect(node, self._heard.via(node), "near"))
        if any(node not in self.links and not self._heard.is_suspect(node) for node in targets):
            return  # a better link replaces a worse one only once it is up
        for node in self._wanted.difference(targets):
            self._forget_wish(node)

    def _forget_wish(self, node: bytes) -> None:
        self._wanted.discard(node)
        self.out.emit(Release(node, "near"))

    def _has_settled(self, targets: Iterable[bytes], now: float) -> bool:
        """Whether the next neighbour on each side is linked and has acknowledged."""
        if self._placed_at is None or not self._member_links():
            return False
        if now >= self._placed_at + PATIENCE:
            return True
        expected = [
            node
            for node in targets
            if (self.links[node].member is not False if node in self.links else not self._heard.is_suspect(node))
        ]
        sides = ids.around(self.me, expected)
        return all(side[0] in self.links and self.links[side[0]].member for side in sides if side)

    def _become_member(self, now: float) -> None:
        self.member = True
        self.joined_at = now
        self._placed_at = now if self._placed_at is None else self._placed_at
        self.near = nearest_members(self.me, self._member_links())
        self.gained |= set(self.near)
        self.out.emit(Joined(self.near))
        self._push_routes()
        for node in self.links:
            self._say_hello(node, ask=False, now=now)
        self._probe(now)
        self._probing.soon(now)

    def _push_routes(self) -> None:
        routes = Routes(self.member, tuple(sorted(self._member_links())))
        if routes == self._routes or (self._routes is None and not self.links and not self.member):
            return
        self._routes = routes
        self.out.emit(routes)

    def _say_hello(self, node: bytes, *, ask: bool, now: float) -> None:
        link = self.links[node]
        self.out.to_neighbour(node, Hello(self.member, self._life, self.near[:MAX_NEAR], ask))
        link.said_hello(near=node in self._wanted, random=self._random, now=now)

    def _probe(self, now: float) -> None:
        """Ask for this node's place again, best through a link that is not near: it may lead to another ring."""
        members = self._member_links()
        doors = [node for node in members if node not in self.near] or members
        if doors:
            self._join_through(pick(self._random, doors), now)
        self._probing.later(now, member=self.member)

    def _join_through(self, node: bytes, now: float) -> None:
        number = self._probing.new_number(node)
        self.out.to_neighbour(node, Join(number, self.me, node, 0))
        if not self.member and self._probing.due is None:
            self._probing.soon(now)

    def _founding_at(self) -> float | None:
        """When this node, having met no member, becomes a ring of one; None while it has no reason to."""
        if self.member or self._placed_at is not None:
            return None
        return founding_at(self.me, self.links, self._linked_since)

    def _member_links(self) -> list[bytes]:
        return [node for node, link in self.links.items() if link.member]
