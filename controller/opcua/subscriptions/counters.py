"""What is counted of a subscription (Part 5 §12.15)."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """The fields of SubscriptionDiagnosticsDataType that are counted."""

    modify_count: int = 0
    enable_count: int = 0
    disable_count: int = 0
    republish_request_count: int = 0
    republish_message_request_count: int = 0
    republish_message_count: int = 0
    transfer_request_count: int = 0
    transferred_to_alt_client_count: int = 0
    transferred_to_same_client_count: int = 0
    publish_request_count: int = 0
    data_change_notifications_count: int = 0
    event_notifications_count: int = 0
    notifications_count: int = 0
    late_publish_request_count: int = 0
    discarded_message_count: int = 0

    def sent(self, values: int, events: int) -> None:
        """A message was sent."""
        self.data_change_notifications_count += values
        self.event_notifications_count += events
        self.notifications_count += values + events
