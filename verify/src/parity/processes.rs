//! Processes and start methods: rows P and S, and what CPython's tests of processes, finalisers and start methods pin.

use super::Behaviour;
use super::Held::{self, AndOnUnix, By, Each, Elsewhere, UnixOnly, WindowsOnly};
use super::Tests;

const fn row(row: &'static str, what: &'static str, held: Held) -> Behaviour {
    Behaviour { row, what, held }
}

const LIVES_AND_ENDS: &str = "processes::process_goes_from_started_to_ended";
const NO_TIME: &str = "processes::waiting_with_no_time_returns_at_once";
const PANIC_IS_WRITTEN: &str = "processes::panic_in_a_child_is_written_with_its_name";
const EXIT_CODES: &str = "processes::exit_codes_are_as_given";
const NOT_STARTED: &str = "doc::compile_fail::NotStarted";
const JOINED_ONCE: &str = "doc::compile_fail::JoinedTwice";
const ACTIVE: Held = AndOnUnix(
    &["processes::active_children_are_those_that_live"],
    &["processes::active_children_are_those_that_live_and_the_others_are_reaped"],
    "nobody is reaped there",
);
const PARENTS_DEATH: &str = "processes::detached_grandchild_sees_its_parent_die";
const ARGUMENTS_GO: &str = "process::only_the_arguments_keep_a_queue_until_the_child_has_it";
const NO_DESCRIPTORS: &str =
    "contexts::children_made_by_execution_or_server_have_no_other_descriptors";
const SENTINEL: &str = "processes::sentinel_is_ready_once_the_process_has_ended";
const NAMES: &str = "contexts::each_child_has_the_name_and_place_it_was_given";
const DAEMONS: &str = "process::names_and_daemons_are_as_asked";
const SET_ONCE: &str = "contexts::default_method_is_set_once";
const ALL_CONTEXTS: &str = "contexts::queue_of_any_context_works_in_any_other";
const HANDED_ON: &str = "contexts::child_hands_its_arguments_on_to_a_grandchild";
const INTERRUPT: &str = "contexts::forkserver_survives_an_interrupt";
const STARTED_AGAIN: &str = "contexts::forkserver_that_is_killed_is_started_again";
const GOES_ON: &str = "contexts::child_of_a_killed_forkserver_goes_on_and_is_joined";
const WITHOUT_INIT: &str = "ends::program_without_init_is_refused";
const NO_BOMB: &str = "ends::child_that_does_not_call_init_is_told";
const CLOSED_STREAMS: &str = "processes::child_with_closed_streams_ends_well";
const BROKEN_STREAMS: &str = "processes::broken_streams_of_the_parent_break_no_child";
const WARMED: &str = "contexts::forkserver_is_warmed_once";
const REPORTS_METHOD: &str = "contexts::each_context_reports_its_method_and_children_know_it";

const THREADS: &str = "the part for threads: a process ends its own";
const CONNECTIONS: &str = "the part for connections";

/// Windows' own codes, and Python's for `terminate`.
const CODES: Tests = &[
    "os-windows/lib::status::tests::exceptions_are_told_as_unix_tells_them",
    "os-windows/processes::terminated_and_killed_are_told_apart",
    "os-windows/processes::abort_and_faults_are_named",
];
/// A child has what it was given, and nothing else of its parent's.
const DESCRIPTORS: Held = Each(
    &[NO_DESCRIPTORS, "process::child_gets_no_descriptors_but_its_own"],
    &["os-windows/processes::child_gets_the_handles_named_and_no_other"],
);
const NO_FORKS: &str = "no forks there";
const NO_SIGNALS: &str = "no signals there";

/// See the module.
pub const ROWS: &[Behaviour] = &[
    row("P1", "exit code with the sign rule", By(&[LIVES_AND_ENDS, NO_TIME])),
    row("P2", "codes of Windows", WindowsOnly(CODES, "Windows' codes")),
    row(
        "P3",
        "a panic is told and written",
        By(&[PANIC_IS_WRITTEN, "process::panic_comes_back_with_message_and_place"]),
    ),
    row("P4", "exit codes", By(&[EXIT_CODES])),
    row("P5", "joins without time", By(&[NO_TIME])),
    row("P6", "no join of itself", By(&["doc::compile_fail::JoinsItself"])),
    row("P7", "no join before the start", By(&[NOT_STARTED])),
    row("P8", "no second start", By(&["doc::compile_fail::StartedTwice"])),
    row("P9", "waits and ends any number of times", By(&[LIVES_AND_ENDS])),
    row("P10", "no end before the start", By(&[NOT_STARTED])),
    row("P11", "no daemon after the start", By(&["doc::compile_fail::DaemonLater"])),
    row("P12", "daemon is inherited", By(&[DAEMONS])),
    row(
        "P13",
        "daemons have no children",
        By(&[
            "process::daemon_starts_no_processes",
            "processes::daemon_may_have_children_that_end_with_it",
        ]),
    ),
    row(
        "P14",
        "order at the end",
        By(&[
            "processes::finalisers_of_the_first_half_run_before_the_children_are_waited_for",
            "ends::daemons_are_terminated_at_the_end",
            "ends::guard_waits_for_children",
        ]),
    ),
    row("P15", "a child waits for its threads", Elsewhere(THREADS)),
    row(
        "P16",
        "streams are flushed, or not there",
        By(&["processes::what_is_in_the_streams_is_written_at_the_end", CLOSED_STREAMS]),
    ),
    row("P17", "sentinel", By(&[SENTINEL, NOT_STARTED])),
    row(
        "P18",
        "close",
        AndOnUnix(
            &[JOINED_ONCE],
            &["process::child_whose_handle_was_dropped_is_reaped_by_the_next_start"],
            "nobody is reaped there",
        ),
    ),
    row(
        "P19",
        "names from the tree",
        By(&[NAMES, "processes::tree_of_processes_knows_its_places"]),
    ),
    row("P20", "active children are reaped", ACTIVE),
    row(
        "P21",
        "parent, and its death",
        By(&["processes::current_process_is_the_root", PARENTS_DEATH]),
    ),
    row("P22", "arguments are dropped", By(&[ARGUMENTS_GO])),
    row("P23", "no more descriptors with more siblings", DESCRIPTORS),
    row("P24", "no descriptor is inherited", DESCRIPTORS),
    row(
        "P25",
        "join survives signals",
        UnixOnly(&["processes::join_goes_on_after_a_signal"], NO_SIGNALS),
    ),
    row("P26", "authentication key", Elsewhere(CONNECTIONS)),
    row(
        "P27",
        "exit handlers of children",
        UnixOnly(&["ends::exit_handlers_of_a_child_run"], "`exit` runs none there"),
    ),
    row("S1", "the method is set once", By(&[SET_ONCE])),
    row("S2", "a context keeps its method", By(&["doc::compile_fail::ContextChanged"])),
    row("S3", "unknown methods", By(&["contexts::methods_are_found_by_name"])),
    row(
        "S4",
        "asking fixes the method, or not",
        By(&["contexts::default_method_is_fixed_by_asking"]),
    ),
    row("S5", "objects of any context", By(&[ALL_CONTEXTS])),
    row("S6", "arguments go on to grandchildren", By(&[HANDED_ON])),
    row("S7", "fork server and signals", UnixOnly(&[INTERRUPT, STARTED_AGAIN, GOES_ON], NO_FORKS)),
    row(
        "S8",
        "many files at once",
        UnixOnly(&["contexts::forkserver_passes_more_files_than_one_packet_takes"], NO_FORKS),
    ),
    row("S9", "what a server preloads", By(&["doc::compile_fail::WarmedByName"])),
    row("S10", "no fork bomb", By(&[WITHOUT_INIT, NO_BOMB])),
    row(
        "S11",
        "arguments and environment",
        By(&["contexts::arguments_and_environment_of_the_program_reach_grandchildren"]),
    ),
    row(
        "S12",
        "objects travel by objects",
        By(&["process_queue::handles_travel_through_queues_from_child_to_child"]),
    ),
    row("C1", "the current process", By(&["processes::current_process_is_the_root"])),
    row("C2", "set_executable", By(&["contexts::copy_of_this_program_is_executed"])),
    row("C3", "arguments arrive", By(&["process::large_arguments_and_values_arrive_whole"])),
    row("C4", "daemon flag", By(&[DAEMONS])),
    row("C5", "parent", By(&["processes::child_sees_its_parent"])),
    row("C6", "parent's death", By(&[PARENTS_DEATH])),
    row("C7", "life of a process", By(&[LIVES_AND_ENDS, NAMES])),
    row("C8", "ids differ", By(&[NAMES])),
    row("C9", "terminate", By(&[NO_TIME])),
    row("C10", "kill", By(&[LIVES_AND_ENDS])),
    row("C11", "cpu_count", Elsewhere("std::thread::available_parallelism")),
    row("C12", "active children", ACTIVE),
    row("C13", "recursion", By(&["processes::tree_of_processes_knows_its_places"])),
    row("C14", "sentinel", By(&[SENTINEL, NOT_STARTED])),
    row("C15", "close", By(&[JOINED_ONCE])),
    row("C16", "many processes", By(&["processes::many_processes_run_at_once_and_all_end_well"])),
    row("C17", "target is dropped", By(&[ARGUMENTS_GO])),
    row("C18", "descriptors of siblings", DESCRIPTORS),
    row("C19", "a child's threads", Elsewhere(THREADS)),
    row("C20", "broken streams of the parent", By(&[BROKEN_STREAMS])),
    row("C21", "closed streams of a child", By(&[CLOSED_STREAMS])),
    row(
        "C22",
        "death of the fork server",
        UnixOnly(&[INTERRUPT, STARTED_AGAIN, GOES_ON], NO_FORKS),
    ),
    row(
        "C23",
        "task type with channels",
        By(&["processes::task_with_queues_of_its_own_answers_until_it_is_told_to_stop"]),
    ),
    row("C24", "stderr of a failing child", By(&[PANIC_IS_WRITTEN])),
    row("C25", "exit codes", By(&[EXIT_CODES])),
    row(
        "C149",
        "order of finalisers",
        By(&["processes::finalisers_run_by_priority_and_the_last_registered_first"]),
    ),
    row(
        "C150",
        "finalisers in many threads",
        By(&["processes::finalisers_of_many_threads_run_once_each"]),
    ),
    row("C151", "log level", Elsewhere("the part for logging")),
    row("C152", "children of children", By(&["process::children_have_children"])),
    row(
        "C153",
        "flags reach grandchildren",
        By(&["contexts::arguments_and_environment_of_the_program_reach_grandchildren"]),
    ),
    row("C154", "no fork bomb", By(&[WITHOUT_INIT, NO_BOMB])),
    row("C159", "contexts report their method", By(&[REPORTS_METHOD])),
    row(
        "C160",
        "set and replaced; children see it",
        By(&[SET_ONCE, "contexts::child_has_its_parents_default_method"]),
    ),
    row("C161", "all methods, the default first", By(&[REPORTS_METHOD])),
    row(
        "C162",
        "preload",
        UnixOnly(&[WARMED, "contexts::forkserver_whose_initialiser_fails_says_why"], NO_FORKS),
    ),
    row("C163", "mixed contexts", By(&[ALL_CONTEXTS])),
    row("C164", "arguments go on", By(&[HANDED_ON])),
    row(
        "C165",
        "generations of forks",
        AndOnUnix(&[HANDED_ON], &["forks::fork_of_a_fork_takes_part"], NO_FORKS),
    ),
    row("C166", "an open descriptor", DESCRIPTORS),
];
