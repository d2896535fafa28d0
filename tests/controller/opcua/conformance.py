"""What the profile "Standard 2017 UA Server" asks for (Part 7 v1.04 §6.6.70 and all that it includes), unit by unit.

Each unit's meaning is in our own words. `conformance_besides` has what is served beyond the profile, `conformance_page` makes the
docs' page of both, and test_conformance.py holds them to be true.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["tested", "served", "not served"]
HOME: Final = "controller/opcua"


@dataclass(frozen=True, slots=True)
class Unit:
    """A conformance unit.

    Attributes:
        facet: the facet or profile that it comes from.
        meaning: what it asks for.
        tests: pytest's node ids, relative to tests/.
        note: why it is not served, or how far it is.
    """

    name: str
    group: str
    facet: str
    required: bool
    state: State
    meaning: str
    tests: tuple[str, ...] = ()
    note: str = ""


class Facet:
    """Makes the units of a facet, group by group."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.units: list[Unit] = []
        self._group = ""

    def group(self, name: str) -> "Facet":
        """What follows is of this conformance group."""
        self._group = name
        return self

    def tested(self, name: str, meaning: str, *tests: str, optional: bool = False, note: str = "") -> "Facet":
        """A unit with tests, named from tests/controller/opcua on."""
        whole = tuple(test if test.startswith("controller/") else f"{HOME}/{test}" for test in tests)
        return self._add(name, "tested", meaning, optional, whole, note)

    def served(self, name: str, meaning: str, *, optional: bool = False, note: str = "") -> "Facet":
        """A unit that no test of ours looks at."""
        return self._add(name, "served", meaning, optional, (), note)

    def absent(self, name: str, meaning: str, why: str, *, optional: bool = False) -> "Facet":
        """A unit that is not served."""
        return self._add(name, "not served", meaning, optional, (), why)

    def _add(self, name: str, state: State, meaning: str, optional: bool, tests: tuple[str, ...], note: str) -> "Facet":
        self.units.append(Unit(name, self._group, self.name, not optional, state, meaning, tests, note))
        return self


def count(units: Iterable[Unit], state: State, required: bool | None = None) -> int:
    """How many there are in a state; required ones, optional ones or both."""
    return sum(one.state == state and required in (None, one.required) for one in units)


ITEMS, PUBLISHING = "subscriptions/test_items.py", "subscriptions/test_publishing.py"
SESSIONS, SPACE = "test_units_sessions.py", "test_units_space.py"
FIFTY = f"{SESSIONS}::test_fifty_sessions_are_served_at_once_and_half_of_them_have_all_the_profile_asks_for"
OPEN = ("link/test_dispatch.py::test_without_security_there_is_discovery_and_nothing_else",
        "link/test_discovery.py::test_there_are_six_endpoints_the_best_first")  # fmt: skip
DISCOVERY_ALONE = "without security there is discovery alone: a session always has a signed channel of a trusted client"

NONE = (
    Facet("SecurityPolicy – None")
    .group("Security")
    .tested("AsymmetricEncryptionAlgorithm_None", "A channel may open without encryption", *OPEN, note=DISCOVERY_ALONE)
    .tested("AsymmetricSignatureAlgorithm_None", "A channel may open without a signature", *OPEN, note=DISCOVERY_ALONE)
    .tested("KeyDerivationAlgorithm_None", "No keys are derived", *OPEN)
    .tested("SymmetricEncryptionAlgorithm_None", "Messages go unencrypted", *OPEN)
    .tested("SymmetricSignatureAlgorithm_None", "Messages go unsigned", *OPEN)
    .tested("SecurityPolicy_None_Limits", "No certificate, no nonce", OPEN[0])
    .absent("Security None CreateSession ActivateSession", "Sessions without certificate, nonce and signature", DISCOVERY_ALONE)
    .absent("Security None CreateSession ActivateSession 1.0", "The same as version 1.0 had it", DISCOVERY_ALONE, optional=True)
)
NAMES = (
    Facet("User Token – User Name Password Server Facet")
    .group("Security")
    .tested("Security User Name Password", "Users come in with name and password, which is encrypted",
            "link/test_sessions.py::test_users_come_in_with_a_password_by_every_policy_and_mode",
            "test_access.py::test_a_password_is_only_taken_encrypted_for_this_session")
    .tested("Security Invalid user token", "What is no valid user is refused, the longer the oftener it is tried",
            "link/test_sessions.py::test_a_wrong_password_is_refused_whoever_it_is_for",
            "test_access.py::test_after_failed_logins_even_the_right_password_waits")
)  # fmt: skip
CERTIFIED = (
    Facet("User Token – X509 Certificate Server Facet")
    .group("Security")
    .absent("Security User X509", "Users come in with a certificate",
            "users have passwords; certificates are of applications here")
)  # fmt: skip
CORE = (
    Facet("Core 2017 Server Facet")
    .group("Address Space Model")
    .tested("Address Space Atomicity", "Whether values are read and written in one piece is told by AccessLevelEx",
            f"{SPACE}::test_extended_access_levels_promise_whole_values_and_say_that_arrays_are_written_whole")
    .tested("Address Space Base", "Node classes with their attributes and references as Part 3 has them",
            f"{SPACE}::test_nodes_have_the_attributes_that_its_class_must_have",
            f"{SPACE}::test_objects_and_variables_have_one_type_that_can_be_browsed")
    .tested("Address Space Full Array Only", "Whether parts of an array can be written is told by AccessLevelEx",
            f"{SPACE}::test_extended_access_levels_promise_whole_values_and_say_that_arrays_are_written_whole")
    .group("Attribute Services")
    .tested("Attribute Read", "Attributes of several nodes at once, parts of arrays, times as wanted",
            "test_reading.py::test_any_mix_of_values_is_read_as_a_slow_server_would",
            "test_reading.py::test_every_attribute_of_every_node_class_is_told_or_refused_by_its_id",
            "test_reading.py::test_a_range_is_what_numpy_slices")
    .absent("Attribute Write Index", "Parts of arrays are written", "what can be written are single numbers", optional=True)
    .tested("Attribute Write Values", "Values are written, several at once",
            "test_writing.py::test_a_machine_gets_a_value_that_fits_and_nothing_else",
            "test_writing.py::test_several_writes_are_asked_for_one_after_the_other_and_answered_in_their_order",
            f"{SPACE}::test_only_setpoints_say_that_they_can_be_written", optional=True)
    .group("Base Information")
    .tested("Base Info Core Structure", "Server, ServerCapabilities and the folders that the standard begins with",
            f"{SPACE}::test_the_server_object_and_its_capabilities_are_complete",
            f"{SPACE}::test_namespaces_of_all_nodes_are_in_the_namespace_array_and_ours_come_first")
    .absent("Base Info Estimated Return Time", "A server that ends says when it will be back", "nobody knows it", optional=True)
    .absent("Base Info OptionSet", "Variables whose bits have names", "no Signal is a set of bits", optional=True)
    .tested("Base Info Placeholder Modelling Rules", "Types mark what instances may have many of",
            f"{SPACE}::test_placeholders_of_a_type_are_marked_and_no_instance_has_them", optional=True)
    .absent("Base Info Selection List", "Variables with a list of the values they may take", "setpoints are ranges of numbers",
            optional=True)
    .tested("Base Info Server Capabilities", "Limits are told",
            f"{SPACE}::test_limits_are_told_and_none_is_less_than_the_profile_asks_for",
            "nodes/test_build.py::test_capabilities_tell_the_numbers_that_are_enforced", optional=True)
    .absent("Base Info ValueAsText", "An enumeration's value is told as a text as well",
            "the enumeration's data type names its values", optional=True)
    .group("Discovery Services")
    .tested("Discovery Find Servers Self", "The server is found at its own address",
            "link/test_discovery.py::test_servers_are_found_by_their_name")
    .tested("Discovery Get Endpoints", "The endpoints are told, by transport and under the address that was called",
            "link/test_discovery.py::test_there_are_six_endpoints_the_best_first",
            "link/test_discovery.py::test_other_transports_have_no_endpoints")
    .group("Security")
    .absent("Security Administration", "Policies, modes, ways to log in and trust are an administrator's choice",
            "trust and users are; policies and modes are fixed to those that are safe", optional=True)
    .tested("Security Role Server Authorization", "What a user may do goes by roles",
            "test_privileges.py::test_a_role_may_exactly_what_is_declared", optional=True)
    .group("Session Services")
    .tested("Session Base", "Sessions are created, activated and closed, and end when nobody uses them",
            "link/test_sessions.py::test_a_new_session_is_told_what_it_needs",
            "link/test_sessions.py::test_a_session_ends_when_its_client_asks_for_nothing",
            "link/test_sessions.py::test_a_closed_session_leaves_nothing_behind")
    .tested("Session General Service Behaviour", "Tokens are checked, handles come back, timeouts and diagnostics are respected",
            "link/test_dispatch.py::test_a_token_is_worth_something_over_its_own_channel_alone",
            "link/test_dispatch.py::test_a_service_is_told_who_asks_when_and_how",
            "link/test_dispatch.py::test_while_one_request_waits_others_are_answered_and_each_gets_its_own",
            "test_calling.py::test_calls_of_one_request_are_made_one_after_the_other_and_a_refusal_has_its_words")
    .tested("Session Minimum 1", "A session at once", FIFTY)
    .group("View Services")
    .tested("View Basic", "Browse with its filters, and BrowseNext",
            "test_view.py::test_browse_tells_just_the_references_that_are_asked_for",
            "test_view.py::test_browsing_in_pieces_of_any_size_finds_what_browsing_at_once_finds")
    .tested("View Minimum Continuation Point 01", "One continuation point for each session",
            "test_view.py::test_a_continuation_point_is_good_once")
    .tested("View RegisterNodes", "Nodes are registered and unregistered",
            "test_view.py::test_registered_nodes_come_back_as_they_are")
    .tested("View TranslateBrowsePath", "Paths of names are followed to nodes",
            "test_view.py::test_paths_lead_down_up_and_through_any_reference",
            "test_view.py::test_paths_that_lead_nowhere_say_why")
)  # fmt: skip
TRANSPORT = (
    Facet("UA-TCP UA-SC UA-Binary")
    .group("Protocol and Encoding")
    .tested("Protocol UA TCP", "Hello, Acknowledge, Error; messages in chunks of agreed sizes",
            "link/test_channel.py::test_buffers_and_limits_are_agreed_on",
            "link/test_chunks.py::test_any_split_of_the_bytes_gives_the_same_chunks")
    .tested("UA Binary Encoding", "The binary encoding of all types",
            "test_guard.py::test_what_a_client_with_manners_sends_passes_and_is_read_to_the_same_byte",
            "test_reading.py::test_what_the_demo_factorys_nodes_have_is_what_asyncuas_codec_reads")
    .tested("UA Secure Conversation", "Channels are opened, renewed and closed; chunks are secured and numbered",
            "link/test_channel.py::test_channels_open_by_three_policies_in_two_modes",
            "link/test_channel.py::test_sequence_numbers_wrap_in_both_directions",
            "link/test_renewal.py::test_old_keys_hold_until_the_new_ones_are_used")
)  # fmt: skip
NANO = (
    Facet("Nano Embedded Device 2017 Server Profile")
    .group("Base Information")
    .tested("Base Info Custom Type System", "Types of our own are there with all that they are derived from",
            f"{SPACE}::test_all_types_in_use_are_there_with_all_that_they_are_derived_from",
            "nodes/test_build.py::test_an_instance_has_what_its_type_declares_and_its_type_says_that_it_must", optional=True)
)  # fmt: skip
MICRO = (
    Facet("Micro Embedded Device 2017 Server Profile")
    .group("Session Services")
    .tested("Session Minimum 2 Parallel", "Two sessions at once", FIFTY)
)
EMBEDDED_CHANGES = (
    Facet("Embedded DataChange Subscription Server Facet")
    .group("Monitored Item Services")
    .tested("Monitor Basic", "Items are created, modified, deleted; their mode is set",
            f"{ITEMS}::test_what_is_wrong_with_an_item_is_its_own_result_and_the_others_are_made",
            f"{ITEMS}::test_a_modified_item_has_its_new_wishes_for_what_is_queued_already",
            f"{ITEMS}::test_disabled_nothing_is_sampled_and_what_was_queued_is_gone")
    .tested("Monitor Items 2", "Two items in a subscription", FIFTY)
    .tested("Monitor QueueSize_1", "A queue of one value for each item",
            f"{ITEMS}::test_queues_hold_and_mark_what_a_slow_queue_does")
    .tested("Monitor Value Change", "A changed value is told",
            f"{ITEMS}::test_every_change_is_sampled_or_what_holds_on_the_grid",
            f"{ITEMS}::test_a_trigger_says_which_changes_count")
    .group("Subscription Services")
    .tested("Subscription Basic", "Subscriptions are created, modified, deleted, published and republished",
            f"{PUBLISHING}::test_the_first_message_comes_with_the_first_cycle_be_it_empty",
            f"{PUBLISHING}::test_modified_it_keeps_its_items_and_takes_its_new_interval_at_once",
            f"{PUBLISHING}::test_what_is_not_acknowledged_can_be_asked_for_again_and_what_is_cannot",
            "subscriptions/test_states.py::test_a_subscription_says_what_a_slow_reading_of_the_standard_says")
    .tested("Subscription Minimum 1", "One subscription for each session", FIFTY)
    .tested("Subscription Publish Discard Policy", "Of too many Publish requests and of too many kept messages the oldest goes",
            f"{PUBLISHING}::test_of_too_many_requests_the_oldest_is_given_up",
            f"{PUBLISHING}::test_so_many_messages_are_kept_and_no_more")
    .tested("Subscription Publish Min 02", "Two Publish requests of a session wait",
            f"{SESSIONS}::test_ten_publish_requests_of_a_session_wait_and_each_is_answered")
)  # fmt: skip
STANDARD_CHANGES = (
    Facet("Standard DataChange Subscription 2017 Server Facet")
    .group("Base Information")
    .tested("Base Info GetMonitoredItems Method", "A subscription's items are named to who has lost their numbers",
            f"{SESSIONS}::test_monitored_items_are_named_and_their_values_sent_again_on_demand")
    .tested("Base Info ResendData Method", "All values of a subscription are told again",
            f"{SESSIONS}::test_monitored_items_are_named_and_their_values_sent_again_on_demand")
    .group("Method Services")
    .tested("Method Call", "Methods are called", "test_calling.py::test_a_call_is_made_or_refused_as_the_standard_has_it")
    .group("Monitored Item Services")
    .tested("Monitor Items 10", "Ten items in a subscription", FIFTY)
    .tested("Monitor Items 100", "A hundred items in half of the subscriptions", FIFTY)
    .tested("Monitor MinQueueSize_02", "Queues of two values", f"{ITEMS}::test_queues_hold_and_mark_what_a_slow_queue_does")
    .tested("Monitor Triggering", "An item's change has others told",
            f"{ITEMS}::test_a_triggering_item_has_its_linked_ones_told_once")
    .tested("Monitored Items Deadband Filter", "Small changes are not told",
            f"{ITEMS}::test_an_absolute_deadband_is_held_against_what_was_told_last_and_not_against_the_last_sample",
            f"{ITEMS}::test_what_is_told_is_what_a_slow_filter_lets_pass")
    .group("Subscription Services")
    .tested("Subscription Minimum 02", "Two subscriptions for half of the sessions", FIFTY)
    .tested("Subscription Publish Min 05", "Five Publish requests of a session wait",
            f"{SESSIONS}::test_ten_publish_requests_of_a_session_wait_and_each_is_answered")
)  # fmt: skip
ENHANCED_CHANGES = (
    Facet("Enhanced DataChange Subscription 2017 Server Facet")
    .group("Monitored Item Services")
    .tested("Monitor Items 500", "Five hundred items in half of the subscriptions", FIFTY)
    .tested("Monitor MinQueueSize_05", "Queues of five values", FIFTY, f"{ITEMS}::test_queues_hold_and_mark_what_a_slow_queue_does")
    .group("Subscription Services")
    .tested("Subscription Minimum 05", "Five subscriptions for half of the sessions", FIFTY)
    .tested("Subscription Publish Min 10", "Ten Publish requests of a session wait",
            f"{SESSIONS}::test_ten_publish_requests_of_a_session_wait_and_each_is_answered")
)  # fmt: skip
EMBEDDED = (
    Facet("Embedded 2017 UA Server Profile")
    .group("Base Information")
    .tested("Base Info Engineering Units", "Units are told as EUInformation",
            f"{SPACE}::test_units_are_those_of_the_un_list_and_every_range_has_two_ends", optional=True)
    .tested("Base Info Type System", "All types in use are there with all that they are derived from",
            f"{SPACE}::test_all_types_in_use_are_there_with_all_that_they_are_derived_from")
    .group("Security")
    .absent("Security – No Application Authentication", "Clients without a trusted certificate come in",
            "every client's certificate is on the trust list", optional=True)
    .tested("Security Default ApplicationInstance Certificate", "A valid certificate is there from the first start on",
            "test_certificate.py::test_an_identity_is_made_once",
            "test_certificate.py::test_a_certificate_that_runs_out_or_names_another_application_is_renewed_with_its_key")
    .tested("Security Policy Required", "At least one policy with security",
            "link/test_channel.py::test_channels_open_by_three_policies_in_two_modes")
)  # fmt: skip
STANDARD = (
    Facet("Standard 2017 UA Server Profile")
    .group("Attribute Services")
    .absent("Attribute Write StatusCode & Timestamp", "Status and times are written with a value",
            "BadWriteNotSupported: status and times of a machine are the server's own", optional=True)
    .group("Base Information")
    .tested("Base Info Diagnostics", "Sessions, subscriptions and requests are counted, for each session and in all",
            f"{SESSIONS}::test_diagnostics_count_a_clients_session_subscriptions_and_requests_while_it_lives",
            f"{SESSIONS}::test_an_administrator_sees_how_each_session_came_in",
            "test_diagnostics.py::test_every_value_that_is_made_when_it_is_read_is_of_its_nodes_type",
            note="always on; an array's entries have no Variables of their own besides")
    .group("Discovery Services")
    .absent("Discovery Register", "It registers with a discovery server", "there is no discovery server to register with")
    .absent("Discovery Register2", "It registers with what it is capable of", "there is no discovery server to register with")
    .group("Session Services")
    .tested("Session Cancel", "Requests that wait are cancelled",
            f"{SESSIONS}::test_a_session_cancels_its_own_waiting_requests_by_their_handle")
    .tested("Session Change User", "A session goes on as another user",
            f"{SESSIONS}::test_a_session_goes_on_as_another_user_with_that_users_rights_and_its_subscriptions", optional=True)
    .tested("Session Minimum 50 Parallel", "Fifty sessions at once", FIFTY)
    .group("View Services")
    .tested("View Minimum Continuation Point 05", "Five continuation points for each session",
            f"{SESSIONS}::test_five_continuation_points_of_a_session_are_good_at_once")
)  # fmt: skip

FACETS: Final = (STANDARD, EMBEDDED, MICRO, NANO, CORE, NONE, NAMES, CERTIFIED, TRANSPORT, EMBEDDED_CHANGES, STANDARD_CHANGES,
                 ENHANCED_CHANGES)  # fmt: skip
PROFILE: Final = tuple(unit for facet in FACETS for unit in facet.units)
