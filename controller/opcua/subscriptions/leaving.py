"""Items go from their subscription."""

from controller.opcua.subscriptions.loose import Notifier, Value
from controller.opcua.subscriptions.subscription import Subscription


def forget(one: Subscription, item: int) -> bool:
    """Take an item away: whether it was polled."""
    position = one.items.where[item]
    value, notifier = one.values.pop(position, None), one.notifiers.pop(position, None)
    for found in (value, notifier):
        if found is not None:
            found.queue.clear()
    for group in one.groups.values():
        group.polled.discard(position)
    for triggered in tuple(one.links.get(item, ())):
        one.unlink(item, triggered)
    for triggering in [other for other, triggered in one.links.items() if item in triggered]:
        one.unlink(triggering, item)
    one.items.remove(position)
    polled = value is not None and value.polled
    one.polled -= polled
    return polled


def tidy(one: Subscription) -> None:
    """Items have gone: close ranks when they were many."""
    moved = one.items.compact()
    if moved is not None:
        loose: tuple[Value | Notifier, ...] = (*one.values.values(), *one.notifiers.values())
        for found in loose:
            found.position = int(moved[found.position])
        one.values = {value.position: value for value in one.values.values()}
        one.notifiers = {notifier.position: notifier for notifier in one.notifiers.values()}
        for group in one.groups.values():
            group.polled = {int(moved[position]) for position in group.polled}
        one.start = 0
    one.prune()
    one.arranged()
