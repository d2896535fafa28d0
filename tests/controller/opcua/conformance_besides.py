"""Conformance units that are served beyond the profile: policies, data access, history, events, audit, methods, certificates."""

from typing import Final

from tests.controller.opcua.conformance import ITEMS, SPACE, Facet

POLICIES, IN_TWO_MODES = "link/test_policies.py", "link/test_channel.py::test_channels_open_by_three_policies_in_two_modes"
HISTORY, EVENTS, FILTERS = "historic/test_history_read.py", "subscriptions/test_events.py", "test_filters.py"
READ_BY_ASYNCUA = (f"{POLICIES}::test_asyncua_reads_our_messages_and_we_its",)
OPENED_BY_ASYNCUA = (f"{POLICIES}::test_openings_are_read_by_asyncua_and_its_by_us",)
KEYS = ("trust/test_validate.py::test_k6_one_with_a_short_key_or_of_another_kind", f"{POLICIES}::test_names_are_the_standards")
CLOSED_FORM = f"{HISTORY}::test_every_aggregate_of_a_staircase_is_its_closed_form"

ALGORITHMS = (
    Facet("SecurityPolicies Basic256Sha256, Aes128-Sha256-RsaOaep, Aes256-Sha256-RsaPss")
    .group("Security")
    .tested("AsymmetricEncryptionAlgorithm_RSA-OAEP-SHA1", "Basic256Sha256, Aes128: openings are encrypted", *OPENED_BY_ASYNCUA)
    .tested("AsymmetricEncryptionAlgorithm_RSA-OAEP-SHA2-256", "Aes256: openings are encrypted", *OPENED_BY_ASYNCUA)
    .tested("AsymmetricSignatureAlgorithm_RSA-PKCS15-SHA2-256", "Basic256Sha256, Aes128: openings are signed", *OPENED_BY_ASYNCUA)
    .tested("AsymmetricSignatureAlgorithm_RSA-PSS-SHA2-256", "Aes256: openings are signed", *OPENED_BY_ASYNCUA)
    .tested("CertificateSignatureAlgorithm_RSA-PKCS15-SHA2-256", "Certificates are signed with SHA-256, others are refused",
            "trust/test_validate.py::test_k6_one_that_openssl_has_signed_with_a_broken_hash")
    .tested("KeyDerivationAlgorithm_P-SHA2-256", "Keys are derived from both nonces",
            f"{POLICIES}::test_keys_are_derived_as_asyncua_derives_them")
    .tested("SymmetricEncryptionAlgorithm_AES128-CBC", "Aes128: messages are encrypted", *READ_BY_ASYNCUA)
    .tested("SymmetricEncryptionAlgorithm_AES256-CBC", "Basic256Sha256 and Aes256: messages are encrypted", *READ_BY_ASYNCUA)
    .tested("SymmetricSignatureAlgorithm_HMAC-SHA2-256", "Messages are signed", *READ_BY_ASYNCUA)
    .tested("Basic256Sha256_Limits", "Keys of 2048 bits and more, nonces of 32 bytes", *KEYS)
    .tested("Aes128-Sha256-RsaOaep_Limits", "Keys of 2048 bits and more, nonces of 32 bytes", *KEYS)
    .tested("Aes256-Sha256-RsaPss_Limits", "Keys of 2048 bits and more, nonces of 32 bytes", *KEYS)
    .tested("Security Certificate Validation", "A certificate is judged step by step before a channel opens",
            "trust/test_validate.py::test_steps_come_in_the_standards_order",
            "trust/test_validate.py::test_openssl_accepts_and_refuses_the_same",
            "trust/test_channel.py::test_a_stranger_learns_nothing_is_kept_and_comes_in_once_it_is_trusted")
    .tested("Security Encryption Required", "Endpoints that encrypt", IN_TWO_MODES)
    .tested("Security Signing Required", "Endpoints that sign", IN_TWO_MODES)
)  # fmt: skip
NOBODY = (
    Facet("User Token – Anonymous Facet")
    .group("Security")
    .tested("Security User Anonymous", "Who comes without a name looks on",
            "link/test_sessions.py::test_nobody_in_particular_is_an_observer", note="with a trusted client certificate")
)  # fmt: skip
DATA_ACCESS = (
    Facet("Data Access Server Facet")
    .group("Data Access")
    .tested("Data Access DataItems", "Variables of DataItemType and what is derived from it",
            f"{SPACE}::test_units_are_those_of_the_un_list_and_every_range_has_two_ends")
    .tested("Data Access AnalogItems", "Numbers with their range and unit",
            f"{SPACE}::test_units_are_those_of_the_un_list_and_every_range_has_two_ends", optional=True)
    .tested("Data Access PercentDeadband", "Changes of less than a part of the range are not told",
            f"{ITEMS}::test_a_percent_deadband_is_of_the_range_of_the_unit", optional=True)
    .absent("Data Access ArrayItemType", "Curves and images as arrays with axes", "no Signal is an array", optional=True)
    .absent("Data Access Complex Number", "Complex numbers", "no Signal is complex", optional=True)
    .absent("Data Access DoubleComplex Number", "Complex numbers of doubles", "no Signal is complex", optional=True)
    .absent("Data Access MultiState", "Numbers with a list of names", "enumerations have a data type instead", optional=True)
    .absent("Data Access MultiStateValueDiscrete", "Numbers with names by value", "enumerations have a data type instead",
            optional=True)
    .absent("Data Access Semantic Changes", "That a range or unit has changed is told", "they are fixed while the server runs",
            optional=True)
    .absent("Data Access TwoState", "Truth values with two names", "truth values have none", optional=True)
)  # fmt: skip
PAST = (
    Facet("Historical Raw Data and AtTime Server Facets")
    .group("Attribute Services")
    .tested("Attribute Historical Read", "HistoryRead", f"{HISTORY}::test_raw_values_come_with_their_quality_and_the_gap")
    .group("Historical Access")
    .tested("Historical Access Read Raw", "Samples as they were kept, of any span, in both directions, with bounds",
            f"{HISTORY}::test_the_start_is_in_and_the_end_is_out_in_both_directions",
            f"{HISTORY}::test_of_start_end_and_number_two_must_be_given",
            f"{HISTORY}::test_a_bound_is_the_sample_before_or_after_or_none_was_found",
            "historic/test_bounds.py::test_the_ends_of_a_span_are_those_of_the_standards_table")
    .tested("Historical Access Data Max Nodes Read Continuation Point", "A long past comes in parts",
            f"{HISTORY}::test_in_parts_the_same_comes_as_at_once",
            f"{HISTORY}::test_a_continuation_point_is_worth_something_once_and_to_its_own_session")
    .tested("Historical Access Time Instance", "What held at given times",
            f"{HISTORY}::test_at_a_time_the_line_is_read_where_the_signal_is_kept_as_one")
    .tested("Historical Access ServerTimestamp", "The time at which the server got a sample",
            "historic/test_bounds.py::test_both_times_of_a_sample_are_told_where_both_are_asked_for", optional=True,
            note="a sample has one time: when it was received from its source")
)  # fmt: skip
AGGREGATES: Final = (
    "Average", "Count", "Delta", "DeltaBounds", "DurationBad", "DurationGood", "End", "EndBound", "Interpolative", "Maximum",
    "Maximum2", "MaximumActualTime", "Minimum", "Minimum2", "MinimumActualTime", "NumberOfTransitions", "PercentBad",
    "PercentGood", "Range", "Range2", "StandardDeviationPopulation", "StandardDeviationSample", "Start", "StartBound",
    "TimeAverage", "TimeAverage2", "Total", "Total2", "VariancePopulation", "VarianceSample",
)  # fmt: skip
"""That are served, as Part 13 names them."""
NO_AGGREGATES: Final = {
    "AnnotationCount": "nothing is annotated",
    "Custom": "there is none of our own",
    "DurationInStateNonZero": "DurationGood and NumberOfTransitions are there",
    "DurationInStateZero": "DurationGood and NumberOfTransitions are there",
    "MaximumActualTime2": "MaximumActualTime and Maximum2 are there",
    "MinimumActualTime2": "MinimumActualTime and Minimum2 are there",
    "WorstQuality": "each aggregate's status and PercentGood tell of quality",
    "WorstQuality2": "each aggregate's status and PercentGood tell of quality",
}
PROCESSED = Facet("Historical Aggregate Server Facet").group("Aggregates")
for _name in AGGREGATES:
    PROCESSED.tested(f"Aggregate – {_name}", "As Part 13 reckons it", CLOSED_FORM, optional=True)
for _name, _why in NO_AGGREGATES.items():
    PROCESSED.absent(f"Aggregate – {_name}", "As Part 13 reckons it", _why, optional=True)
HAPPENINGS = (
    Facet("Standard Event Subscription Server Facet")
    .group("Address Space Model")
    .tested("Address Space Events", "Event types with their fields, and notifiers that tell of them",
            f"{EVENTS}::test_events_come_to_the_notifiers_above_their_source_as_their_filters_want_them",
            f"{FILTERS}::test_an_event_has_the_fields_of_its_base_type")
    .group("Base Information")
    .tested("Base Info EventQueueOverflow EventType", "That events were lost is told by an event",
            f"{EVENTS}::test_of_too_many_events_some_are_lost_and_one_event_says_where", optional=True)
    .absent("Base Info Device Failure", "A device's failure is an event", "it is a status of the device's values", optional=True)
    .absent("Base Info Progress Events", "Long services tell how far they are", "none takes long", optional=True)
    .absent("Base Info SemanticChange", "That a property's meaning has changed is an event", "they are fixed while the server runs",
            optional=True)
    .absent("Base Info System Status", "That the system starts or stops is an event", "ServerStatus and its reason tell it",
            optional=True)
    .absent("Base Info System Status Underlying System", "The same of what is behind the server",
            "ServiceLevel and the status of values tell it", optional=True)
    .group("Monitored Item Services")
    .tested("Monitor Events", "Fields are selected, and events by the operators up to TypeOf and BitwiseOr",
            f"{EVENTS}::test_a_filter_that_is_none_is_refused_and_one_of_data_is_not_supported",
            f"{FILTERS}::test_selected_fields_come_in_their_order_and_what_is_not_there_is_null",
            f"{FILTERS}::test_comparing_is_what_a_slow_reading_of_the_tables_says",
            f"{FILTERS}::test_of_type_holds_for_a_type_and_what_is_derived_from_it",
            f"{FILTERS}::test_like_follows_the_table_of_wildcards")
    .tested("Monitor QueueSize_ServerMax", "An event queue may be as long as the server can",
            f"{EVENTS}::test_of_too_many_events_some_are_lost_and_one_event_says_where")
    .absent("Monitor Complex Event Filter", "Conditions on what is related to an event", "BadFilterOperatorUnsupported",
            optional=True)
)  # fmt: skip
AUDITED = (
    Facet("Auditing Server Facet")
    .group("Auditing")
    .tested("Auditing Base", "Who changed what is told by audit events, with the client's own entry id",
            "test_auditing.py::test_a_write_is_told_with_its_old_and_new_value",
            "test_auditing.py::test_a_call_is_told_with_its_inputs_and_a_refusal_with_its_reason",
            "test_auditing.py::test_sessions_and_logins_are_told_and_a_refused_login_by_the_name_it_claimed",
            "test_auditing.py::test_audit_events_are_for_administrators_alone_and_have_the_fields_of_their_type")
)  # fmt: skip
METHODS = (
    Facet("Method Server Facet")
    .group("Address Space Model")
    .tested("Address Space Method", "Methods with their arguments, and whether this user may call them",
            "nodes/test_build.py::test_methods_are_for_those_who_may_command_and_say_what_they_take",
            "test_declared.py::test_whatever_can_be_called_needs_a_right_to_call_it")
)  # fmt: skip
PUSHED = (
    Facet("Global Certificate Management Server Facet")
    .group("Security")
    .tested("Push Model for Global Certificate and TrustList Management", "Trust list and certificate come over OPC UA",
            "trust/test_push.py::test_a_list_is_written_in_parts_holds_whole_and_is_read_back",
            "trust/test_push.py::test_an_authority_signs_us_and_from_apply_changes_on_it_is_used",
            "trust/test_push.py::test_every_method_is_for_administrators_over_sealed_channels")
)  # fmt: skip

FACETS: Final = (ALGORITHMS, NOBODY, DATA_ACCESS, PAST, PROCESSED, HAPPENINGS, AUDITED, METHODS, PUSHED)
BESIDES: Final = tuple(unit for facet in FACETS for unit in facet.units)
