"""The ring: join it, keep near links to the nearest members, find and merge rings that are apart.

What makes it converge: neighbours tell each other their near neighbours, a node that hears of a nearer one links to it,
and every now and then a node asks, through a link that is not near, who is nearest to itself (`Join`).

A leaf takes a place among its nearest members, which deliver what is for it, but is no member: it stores and forwards
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Set
from math import inf
from typing import Final

from ipop_modules.topology.protocol import ids
from ipop_modules.topology.protocol.acquaintances import Acquaintances
from ipop_modules.topology.protocol.attempts import Attempts
from ipop_modules.topology.protocol.chance import Random, pick, request_number, some
from ipop_modules.topology.protocol.effects import Connect, Introduce, Introduced, Joined, Release
from ipop_modules.topology.protocol.founding import founding_at
from ipop_modules.topology.protocol.link import HELLO_NEAR, Link
from ipop_modules.topology.protocol.longlinks import LongLinks
from ipop_modules.topology.protocol.merging import SETTLED, Merging
from ipop_modules.topology.protocol.messages import (
    MAX_HOPS,
    MAX_INTRODUCED,
    MAX_NEAR,
    MAX_NEIGHBOURS,
    Find,
    Found,
    Full,
    Hello,
    Introduction,
    Join,
    JoinAnswer,
    Neighbours,
    OtherRing,
    Survey,
    SurveyAnswer,
)
from ipop_modules.topology.protocol.neighbourhood import NEAR, estimate_size, near_targets, nearest_members, next_to
from ipop_modules.topology.protocol.outbox import Outbox
from ipop_modules.topology.protocol.probing import Probing
from ipop_modules.topology.protocol.sharing import Sharing

PATIENCE: Final = 3.0
"""Seconds after which a newcomer that knows its place joins without the neighbours that it can't reach."""

HANDED_OVER: Final = 3.0
"""Seconds within which new neighbours have handed over what lies between them."""


class Ring:
    def __init__(
        self,
        me: bytes,
        random: Random,
        now: float,
        *,
        long_links: int | None = 0,
        leaf: bool = False,
        is_shortcut: Callable[[bytes], bool] = lambda node: False,
    ) -> None:
        """`long_links`: how many to open, None for as many as the ring's size asks for."""
        self._is_shortcut = is_shortcut
        self.me = me
        self.leaf = leaf
        self.member = False
        self.attached = False
        """Has its place: a member, or a leaf whose nearest members are linked."""
        self.joined_at: float | None = None
        self.links: dict[bytes, Link] = {}
        self.near: tuple[bytes, ...] = ()
        """Ring members next to this node, to which a direct link is up."""
        self.gained: set[bytes] = set()
        """Near neighbours that are new, or that forgot what they stored, since somebody cleared this."""
        self.is_stirred = False
        """Its place in the ring, or who is next to it, may have changed since somebody cleared this."""
        self.out = Outbox(me, self.links.__contains__, self.is_closest)
        self._members: tuple[bytes, ...] | None = None
        """Neighbours that are in the ring, as `_member_links` gives them; None where that may have changed."""
        self._hello_due: float | None = None
        """When the next Hello is due; None where it may be earlier."""
        self._random = random
        self._life = request_number(random)
        self._hellos = 0
        self._heard = Acquaintances(me, random)
        self._wanted: set[bytes] = set()
        self._attempts = Attempts()
        self._placed_at: float | None = None
        self._changed_at = now
        """When its near neighbours became others."""
        self._linked_since = now
        """Since when it has had some link or, having none, has had none."""
        self._met_at: float | None = None
        """When it last saw that a neighbour which it had gone to was in the ring."""
        self._review_at = inf
        """When something that was waited for is to be looked at, though nothing happens."""
        self._nearest: tuple[bytes, ...] = ()
        self._nearest_of: tuple[bytes, ...] = ()
        """The direct neighbours in the ring that the nearest were chosen from."""
        self._estimate = 1
        self._next_to: set[bytes] = set()
        self._seen_from: list[tuple[bytes, ...]] = [()]
        """The near neighbours and their lists, which this and the estimate of the ring's size come from."""
        self._seen_linked: tuple[bytes, ...] = ()
        self._probing = Probing(random)
        self._sharing = Sharing(me, self.out, self.links)
        self._long = LongLinks(
            me,
            self.out,
            random,
            count=0 if leaf else long_links,
            links=self.links,
            is_near=self._wanted.__contains__,
            is_shortcut=lambda node: is_shortcut(node) or node in self._merging,
        )
        self._merging = Merging(me, self.out)

    # What happens to links.

    def link_up(self, node: bytes, initiator: bool, now: float) -> None:
        if node == self.me:
            return
        self._attempts.ended(node)
        self._heard.forgive(node)
        if node not in self.links:
            self._linked_since = self._linked_since if self.links else now
            self.links[node] = Link(now, initiator)
            self._say_hello(node, ask=True, now=now)
        self._long.link_up(node, now)
        self._review(now)

    def link_down(self, node: bytes, now: float) -> None:
        link = self.links.pop(node, None)
        if link is None:
            return
        if link.member:
            self._note_met(link, now)
        self._members = self._hello_due = None
        self._sharing.link_down(node)
        self._long.lost(node, now)
        if not self.links:
            self._linked_since = now
        if not self.member and not self._member_links():
            self._placed_at = None
            self.attached = False
        if node in self._wanted:
            self._wanted.discard(node)
            self._heard.suspect(node, now)
            self._probing.soon(now)
        self._review(now)

    def long_failed(self, node: bytes, now: float) -> None:
        if node not in self.links:
            self._long.lost(node, now)

    def door_failed(self, node: bytes) -> None:
        if node in self._merging:
            self._merging.close()

    def connect_failed(self, node: bytes, now: float) -> None:
        was_tried = self._attempts.ended(node)
        if node not in self.links and node in self._wanted:
            self._forget_wish(node)
            self._heard.failed(node, now)
        elif not was_tried:
            return
        self._review(now)

    def relink(self, up: Mapping[bytes, Collection[str]], now: float) -> None:
        """The link module, or this one, was restarted: these nodes have direct links, wanted for these reasons.

        Near links that outlived this module mean that it was in the ring, and its neighbours still route to it.
        """
        for node in [node for node in self.links if node not in up]:
            self.link_down(node, now)
        self._sharing.forget()
        self._attempts.clear()
        self._wanted.clear()
        self._wanted.update(node for node, kinds in up.items() if "near" in kinds and node != self.me)
        self._long.relink({node: node in self.links for node, kinds in up.items() if "long" in kinds})
        self._merging.relink(node for node, kinds in up.items() if "door" in kinds)
        if self._wanted and not self.attached:
            for node in sorted(self._wanted):
                self.links.setdefault(node, Link(now, initiator=False)).member = True
            self._members = None
            self._attach(now)
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
        if link.life == hello.life and hello.order < link.order:
            return
        first = not link.member and hello.member
        unknown = link.member is None
        same = (link.member, link.life, link.near) == (hello.member, hello.life, hello.near)
        if link.life not in (None, hello.life) and sender in self.near:
            self.gained.add(sender)
        if link.member is None:
            link.unanswered = 0
            link.hello_at = now + HELLO_NEAR[0]
            self._hello_due = None
        if link.member is not hello.member:
            self._members = None
        if link.member or hello.member:
            self._note_met(link, now)
        link.member, link.life, link.near = hello.member, hello.life, hello.near
        self._introduce(sender, link)
        link.order = hello.order
        self._note_long(sender, link, hello, now)
        heard = [node for node in hello.near if node not in self.links]
        is_news = self._heard.hear(heard, sender, now) and self._may_be_near(heard)
        lacking = hello.member and not hello.ask and self._sharing.lacks(sender, hello.list_mark)
        if hello.ask:
            self._sharing.tell(sender)
        if hello.ask or lacking:
            self._say_hello(sender, ask=lacking, now=now)
        if is_news or not same:
            self._review(now)
        if unknown and hello.member:
            self._meet(sender, hello, now)
        is_new_door = sender not in self.near or len(self.near) < 2 * NEAR
        is_long = sender in self._long or link.long
        if first and (not self.attached or (is_new_door and not is_long)):
            self._join_through(sender, now)

    def on_neighbours(self, said: Neighbours, sender: bytes, now: float) -> None:
        if sender in self.links:
            self._sharing.hear(sender, said, now)

    def on_other_ring(self, said: OtherRing, sender: bytes, now: float) -> None:
        if self.member and said.door not in self.links and sender in self._long_neighbours():
            self._merging.on_other_ring(said.door, sender, now)

    def on_introduction(self, said: Introduction, sender: bytes) -> None:
        link = self.links.get(sender)
        if link is not None and link.initiator and not link.introduced and not self.attached:
            link.introduced = True
            self.out.emit(
                Introduced(tuple([(peer.node, peer.endpoint) for peer in said.peers if peer.node != self.me]))
            )

    def on_full(self, sender: bytes, now: float) -> None:
        self._long.lost(sender, now)

    def on_find(self, find: Find) -> None:
        if self.member and find.asker != self.me:
            self.out.to_node(find.asker, find.via, Found(find.number, self.me, self._long.has_room()))

    def on_found(self, found: Found, now: float) -> None:
        self._long.found(found, now)

    def on_survey(self, survey: Survey) -> None:
        kinds: dict[str, list[bytes]] = {"near": [], "long": [], "other": [], "shortcut": []}
        for node, kind in self.neighbours():
            kinds[kind if kind in kinds else "other"].append(node)
        near, long, other, shortcut = (tuple(kinds[kind][:MAX_NEIGHBOURS]) for kind in kinds)
        answer = SurveyAnswer(survey.number, self.me, near[:MAX_NEAR], long, other, shortcut)
        self.out.to_node(survey.asker, survey.via, answer)

    def on_join(self, join: Join, sender: bytes, now: float) -> None:
        if not self.member or join.asker == self.me:
            return
        if join.asker == sender:
            self._heard.forgive(join.asker)
        members = self._member_links()
        others = [node for node in members if node not in (join.asker, sender)]
        known = {self.me, *members, *join.near} - {join.asker}
        following = ids.closest(join.asker, others)
        if following and ids.distance(following, join.asker) < ids.distance(self.me, join.asker):
            if join.hops < MAX_HOPS:
                near = nearest_members(join.asker, known)
                self.out.to_neighbour(following, Join(join.number, join.asker, join.via, join.hops + 1, near))
            return
        near = nearest_members(join.asker, {*known, *self.near} - {join.asker}, MAX_NEAR // 2)
        self.out.to_node(join.asker, join.via, JoinAnswer(join.number, near))

    def on_join_answer(self, answer: JoinAnswer, now: float) -> None:
        via = self._probing.answered(answer.number)
        if via is None:
            return
        heard = [node for node in answer.near if node not in self.links]
        self._heard.hear(heard, via, now)
        if self._placed_at is None or self._may_be_near(heard):
            self._placed_at = now if self._placed_at is None else self._placed_at
            self._review(now)

    # Time.

    def wake(self, now: float) -> None:
        if self._next_hello() <= now:
            for node, link in self.links.items():
                if link.hello_at <= now:
                    self._say_hello(node, ask=link.member is None, now=now)
        is_probe_due = self._probing.due <= now
        if is_probe_due:
            self._probe(now)
        is_founder = self._founding_at() <= now
        if is_founder:
            self._placed_at = now
            self._attach(now)
        if is_probe_due or is_founder or self._review_at <= now:
            self._review(now)
        self._long.wake(now)
        self._sharing.wake(now)
        self._merging.wake(now)

    def next_wake(self) -> float:
        hello_due = self._next_hello() if self._hello_due is None else self._hello_due
        founding_at = inf if self.attached else self._founding_at()
        return min(
            hello_due,
            self._probing.due,
            founding_at,
            self._review_at,
            self._long.next_wake(),
            self._sharing.next_wake(),
            self._merging.next_wake(),
        )

    # What others ask of the ring.

    def is_closest(self, key: bytes) -> bool:
        """Whether this node is, as far as it knows, the ring member nearest to `key`."""
        return self.member and ids.closest(key, [self.me, *self._member_links()]) == self.me

    @property
    def is_alone(self) -> bool:
        """Whether others that it knows should be asked: it has no link or, though it has met a ring, none into it."""
        return not self.links or (self._met_at is not None and not self.attached and not self._member_links())

    @property
    def placed(self) -> bool:
        """It knows its place in the ring, which it takes once the links to its neighbours there are up."""
        return self._placed_at is not None

    def is_settled(self, now: float) -> bool:
        """Whether it has had its neighbours for a while, so that they have handed over what it is to store."""
        return self.attached and now >= self._changed_at + HANDED_OVER

    @property
    def size_estimate(self) -> int:
        """How many nodes the ring has, from the density of ids around this one; 0 while it has no place there."""
        if not self.attached:
            return 0
        self._look_around()
        return self._estimate

    @property
    def beside(self) -> int:
        """How far beside a key replicas are asked for, and put, too: 1.5 average gaps between members."""
        return ids.RING * 3 // (2 * max(1, self.size_estimate))

    def detour(self, avoiding: Container[bytes] = ()) -> bytes | None:
        """Some neighbour in the ring, for a question that was not answered by the shortest way."""
        members = [node for node in self._member_links() if node not in avoiding]
        return pick(self._random, members) if members else None

    @property
    def hops(self) -> Mapping[bytes, bytes]:
        """The nodes to which a way is known, and the neighbour that each begins with; outside the ring neighbours.

        A node outside the ring hands everything to the neighbour that is nearest itself.
        """
        hops = self._sharing.hops
        return hops if self.member else {node: hop for node, hop in hops.items() if node == hop}

    def nearest_known(self, point: bytes, others: Container[bytes] = ()) -> bytes | None:
        """Of this member, its neighbours and those next to it, the one nearest to `point` that is none of `others`."""
        known = {*self._member_links(), *self._look_around()}
        if self.member:
            known.add(self.me)
        return ids.closest(point, (node for node in known if node not in others))

    @property
    def is_small(self) -> bool:
        """Whether this node sees all of the ring around it, or is linked to half of it, as far as it can say."""
        sees_all = len(self._look_around()) < 4 * NEAR and all(self.links[node].near for node in self.near)
        return sees_all or 2 * (1 + len(self._member_links())) >= self.size_estimate

    def around(self, count: int) -> tuple[bytes, ...]:
        """Up to `count` members on each side, as far as this node and its near neighbours know."""
        return nearest_members(self.me, self._look_around(), count)

    @property
    def surroundings(self) -> Set[bytes]:
        """The members next to this one, as it and its near neighbours know; the same object until they change."""
        return self._look_around()

    def _look_around(self) -> set[bytes]:
        """Who is next to this node, worked out when somebody's list of near neighbours, or some link, has changed."""
        known = [self.near, *[self.links[neighbour].near for neighbour in self.near]]
        members = self._member_links()
        if known != self._seen_from or members is not self._seen_linked:
            self._seen_from, self._seen_linked = known, members
            self._next_to = next_to(self.me, self.near, known[1:], members)
            self._estimate = estimate_size(self.me, self._next_to)
        return self._next_to

    def neighbours(self) -> list[tuple[bytes, str]]:
        """Direct neighbours: near, long (of either side's making), shortcut, another member, or not in the ring."""
        return [(node, self._kind(node, link)) for node, link in self.links.items()]

    # The rules.

    def _review(self, now: float) -> None:
        """Bring wishes, membership, the near list and the routes in line with what is known now."""
        self.is_stirred = True
        if self._placed_at is not None:
            targets = self._targets(now)
            self._want(targets, now)
            if not self.attached and self._has_settled(targets, now):
                self._attach(now)
        near = self._nearest_links() if self.attached else ()
        if near != self.near:
            self._take_near(near, now)
        self._sharing.review(self._member_links(), now, member=self.member)
        self._long.set_size(self.size_estimate if self.member else 0, now)
        self._plan_review(now)

    def _take_near(self, near: tuple[bytes, ...], now: float) -> None:
        before, self.near = set(self.near), near
        if before != set(near):
            self.gained |= set(near) - before
            self._changed_at = now
            for node in self.links:
                if node in self._wanted:
                    self._say_hello(node, ask=False, now=now)

    def _plan_review(self, now: float) -> None:
        """Look again when a node that failed may be tried again, and when patience with silent neighbours ends."""
        patience = self._placed_at + PATIENCE if self._placed_at is not None and not self.attached else inf
        self._review_at = min(self._heard.next_forgiven(now), patience if patience > now else inf)

    def _meet(self, sender: bytes, hello: Hello, now: float) -> None:
        """A neighbour's first word is that it is a member: one next to this node may be of another ring."""
        settled = self.member and self.joined_at is not None and now >= self.joined_at + SETTLED
        if settled and self.near and sender in (side[0] for side in ids.around(self.me, self.near)):
            near = [node for node in self.near if node != sender]
            self._merging.met(sender, hello.near, near, self._long_neighbours(), now)

    def _long_neighbours(self) -> list[bytes]:
        return [node for node, link in self.links.items() if node in self._long or link.long]

    def _note_long(self, sender: bytes, link: Link, hello: Hello, now: float) -> None:
        """The neighbour's wish for a long link: settle crossed ones, refuse what is too much."""
        if hello.long and not link.long:
            link.long_since = now
        link.long = hello.long
        if not hello.long:
            return
        self._long.crossed(sender, now)
        if self._long.is_too_much(sender):
            self.out.to_neighbour(sender, Full())

    def _kind(self, node: bytes, link: Link) -> str:
        if node in self.near:
            return "near"
        if node in self._long or link.long:
            return "long"
        if self._is_shortcut(node):
            return "shortcut"
        return "member" if link.member else "outside"

    def _targets(self, now: float) -> list[bytes]:
        heard = self._heard.candidates(now)
        if not self._attempts.are_few:
            heard = [node for node in heard if node in self._wanted or self._may_try(node)]
        return near_targets(self.me, dict.fromkeys([*self.links, *heard]), self._counts)

    def _may_try(self, node: bytes) -> bool:
        return node in self._attempts or self._attempts.may_begin(self._heard.via(node))

    def _may_be_near(self, nodes: Iterable[bytes]) -> bool:
        """Whether one of them lies among the near neighbours, or where some of these are missing."""
        if len(self.near) < 2 * NEAR:
            return True
        return any(ids.between(self.near[-1], node, self.near[NEAR - 1]) for node in nodes)

    def _counts(self, node: bytes) -> bool:
        link = self.links.get(node)
        return link.member is True if link else not self._heard.is_suspect(node)

    def _want(self, targets: Iterable[bytes], now: float) -> None:
        targets = list(targets)
        for node in targets:
            via = self._heard.via(node)
            if node not in self._wanted and (node in self.links or self._attempts.begin(node, via)):
                self._wanted.add(node)
                self.out.emit(Connect(node, via, "near"))
        if any(node not in self.links and not self._heard.is_suspect(node) for node in targets):
            return  # a better link replaces a worse one only once it is up
        for node in sorted(self._wanted.difference(targets)):
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

    def _attach(self, now: float) -> None:
        """Take the place in the ring."""
        self.attached = True
        self.member = not self.leaf
        self.joined_at = self._changed_at = now
        self._placed_at = now if self._placed_at is None else self._placed_at
        self.near = self._nearest_links()
        self.gained |= set(self.near)
        self.out.emit(Joined(self.near))
        self._sharing.review(self._member_links(), now, member=self.member)
        for node, link in self.links.items():
            self._introduce(node, link)
            self._say_hello(node, ask=False, now=now)
        self._probe(now)
        self._probing.soon(now)

    def _note_met(self, link: Link, now: float) -> None:
        if link.initiator:
            self._met_at = now

    def _introduce(self, node: bytes, link: Link) -> None:
        """Name members to a neighbour that came to this node and is none: those that this node chose itself first."""
        if self.member and link.member is False and not (link.initiator or link.introduced):
            link.introduced = True
            long = [other for other in self._member_links() if other in self._long]
            chosen = some(self._random, long, 2 * MAX_INTRODUCED)
            near = some(self._random, [other for other in self.near if other not in chosen], 2 * MAX_INTRODUCED)
            self.out.emit(Introduce(node, tuple([*chosen, *near][: 2 * MAX_INTRODUCED])))

    def _say_hello(self, node: bytes, *, ask: bool, now: float) -> None:
        link = self.links[node]
        near, long = self.near[:MAX_NEAR], node in self._long
        self._hellos += 1
        hello = Hello(self.member, self._life, near, ask, long, self._sharing.mark, self._hellos)
        self.out.to_neighbour(node, hello)
        link.said_hello(hello, near=node in self._wanted, random=self._random, now=now)
        self._hello_due = None

    def _probe(self, now: float) -> None:
        """Ask for this node's place again, best through a link that is not near: it may lead to another ring."""
        members = self._member_links()
        doors = [node for node in members if node not in self.near] or members
        if doors:
            self._join_through(pick(self._random, doors), now)
        self._probing.later(now, member=self.attached)

    def _join_through(self, node: bytes, now: float) -> None:
        number = self._probing.new_number(node)
        self.out.to_neighbour(node, Join(number, self.me, node, 0))
        if not self.attached and self._probing.due == inf:
            self._probing.soon(now)

    def _founding_at(self) -> float:
        """When this node, having met no member, becomes a ring of one; `inf` while it has no reason to."""
        if self.attached or self._placed_at is not None or self.leaf:
            return inf
        return founding_at(self.me, self.links, self._linked_since, self._met_at)

    def _member_links(self) -> tuple[bytes, ...]:
        if self._members is None:
            self._members = tuple([node for node, link in self.links.items() if link.member])
        return self._members

    def _nearest_links(self) -> tuple[bytes, ...]:
        """Those of the direct neighbours in the ring that are next to this node."""
        members = self._member_links()
        if members is not self._nearest_of:
            self._nearest, self._nearest_of = nearest_members(self.me, members), members
        return self._nearest

    def _next_hello(self) -> float:
        if self._hello_due is None:
            self._hello_due = min([link.hello_at for link in self.links.values()], default=inf)
        return self._hello_due
