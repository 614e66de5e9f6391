//! Pools: rows W, and what CPython's tests of pools pin.

use super::Behaviour;
use super::Held::{self, By};

const fn row(row: &'static str, what: &'static str, held: Held) -> Behaviour {
    Behaviour { row, what, held }
}

const OUT_OF_RANGE: &str = "pool::numbers_out_of_range_are_refused";
const CLOSED: &str = "pool::closed_pool_finishes_and_takes_no_more";
const SCOPE: &str = "pool::scope_finishes_what_was_given";
const GET: &str = "pool::get_timeout_does_not_end_the_task";
const PANIC: &str = "pool::panic_is_told_and_costs_nothing_else";
const MAP_ERRORS: &str = "pool::map_runs_all_and_tells_the_first_error";
const IN_PLACE: &str = "pool::imap_gives_each_error_in_its_place";
const NO_TRAVEL: &str = "pool::values_that_cannot_travel_are_their_tasks_error";
const CALLBACK: &str = "pool::callback_comes_once_and_before_get";
const UNORDERED: &str = "pool::unordered_gives_each_once";
const EMPTY: &str = "pool::empty_input_gives_nothing";
const STARMAP: &str = "pool::starmap_unpacks_pairs";
const ORDER: &str = "pool::map_keeps_the_order";
const NEXT_TIMEOUT: &str = "pool::next_timeout_passes_and_the_value_still_comes";
const INITIALISER: &str = "pool::initialiser_runs_in_every_worker_first";
const SHORT_LIVED: &str = "pool::worker_is_replaced_after_so_many_tasks";
const CLOSING: &str = "pool::closing_with_short_lived_workers_finishes";
const MILLION: &str = "pool_faults::million_tasks_are_terminated_at_once";
const NOT_FINISHED: &str = "pool_faults::pool_that_nobody_finished_ends_with_its_process";
const SIZES: &str = "pool::results_of_every_size_arrive";

/// See the module.
pub const ROWS: &[Behaviour] = &[
    row("W1", "a pool has one worker at least", By(&[OUT_OF_RANGE])),
    row("W2", "a worker does one task at least", By(&[OUT_OF_RANGE])),
    row("W3", "join of a running pool is an error", By(&[CLOSED])),
    row("W4", "a closed pool takes no task", By(&[CLOSED])),
    row("W5", "close, join, terminate any number of times", By(&[CLOSED])),
    row("W6", "a scope finishes, dropping terminates", By(&[SCOPE])),
    row("W7", "success is not known before the end", By(&[GET])),
    row("W8", "get gives its value or error each time, with message and place", By(&[GET, PANIC])),
    row(
        "W9",
        "a time-out of get ends no task, a deadline does",
        By(&[GET, "pool_faults::deadline_ends_its_task_and_no_other"]),
    ),
    row("W10", "map keeps the order", By(&[ORDER])),
    row("W11", "map waits for all before it tells an error", By(&[MAP_ERRORS])),
    row("W12", "next with a time-out; a later next gives the value", By(&[NEXT_TIMEOUT])),
    row("W13", "errors come in their place", By(&[IN_PLACE])),
    row("W14", "a chunk has one task at least: a type", By(&[UNORDERED])),
    row("W15", "empty input", By(&[EMPTY])),
    row("W16", "an argument that cannot travel is the call's error", By(&[NO_TRAVEL])),
    row(
        "W17",
        "a result that cannot travel is its task's error, and no worker is lost",
        By(&[NO_TRAVEL]),
    ),
    row("W18", "a result that cannot be rebuilt is its task's error", By(&[NO_TRAVEL])),
    row("W19", "callbacks once, before get", By(&[CALLBACK])),
    row(
        "W20",
        "a slow callback holds up nobody else; terminate in one",
        By(&[
            "pool::slow_callback_holds_up_only_its_own_task",
            "pool::terminate_in_a_callback_is_no_deadlock",
        ]),
    ),
    row(
        "W21",
        "workers are replaced after so many tasks; closing then",
        By(&[SHORT_LIVED, CLOSING]),
    ),
    row(
        "W22",
        "a killed worker costs its task, told at once",
        By(&[
            "pool_faults::killed_worker_fails_its_task_at_once",
            "pool_faults::death_in_a_chunk_costs_one_task",
        ]),
    ),
    row(
        "W23",
        "exit in a task is told",
        By(&["pool_faults::exit_in_a_task_is_told_with_its_code"]),
    ),
    row(
        "W24",
        "a failing initialiser is an error",
        By(&[
            "pool::initialiser_that_fails_is_an_error_of_the_construction",
            "pool_faults::workers_that_cannot_start_degrade_the_pool",
        ]),
    ),
    row(
        "W25",
        "construction that fails leaves no process",
        By(&["pool::initialiser_that_fails_is_an_error_of_the_construction"]),
    ),
    row("W26", "terminate with many tasks returns", By(&[MILLION])),
    row("W27", "a pool that was not finished ends with its process", By(&[NOT_FINISHED])),
    row("W28", "a pool does not travel: a type", By(&["doc::compile_fail::PoolTravels"])),
    row(
        "W29",
        "arguments and results are given back",
        By(&["pool_faults::handles_in_tasks_are_given_back"]),
    ),
    row("W30", "two hundred workers", By(&["pool_faults::two_hundred_workers_work"])),
    row(
        "E15",
        "five at once, a callback each",
        By(&["pool_programs::e15_five_at_once_and_a_callback_each"]),
    ),
    row(
        "E16",
        "callbacks are given the values",
        By(&["pool_programs::e16_callbacks_are_given_the_values"]),
    ),
    row("E17", "join wants close first", By(&["pool_programs::e17_join_wants_close_first"])),
    row("E18", "join is the end of all", By(&["pool_programs::e18_join_is_the_end_of_all"])),
    row("E19", "results one by one", By(&["pool_programs::e19_results_one_by_one"])),
    row(
        "E20",
        "lacking patience can be caught",
        By(&["pool_programs::e20_lacking_patience_is_an_error_one_can_catch"]),
    ),
    row("C80", "apply with several arguments", By(&[STARMAP])),
    row("C81", "map of 10 and 100", By(&[ORDER])),
    row("C82", "starmap and its handle", By(&[STARMAP])),
    row("C83", "callback of a map", By(&["pool::callback_comes_though_nobody_waits", CALLBACK])),
    row("C84", "arguments that cannot travel", By(&[NO_TRAVEL])),
    row("C85", "map of nothing", By(&[EMPTY])),
    row(
        "C89",
        "imap: order, end, chunks",
        By(&[IN_PLACE, "pool::many_results_larger_than_the_board_arrive"]),
    ),
    row("C91", "imap_unordered gives each", By(&[UNORDERED])),
    row(
        "C93",
        "terminate with queued tasks",
        By(&["pool::terminate_ends_what_waits_and_what_runs"]),
    ),
    row("C98", "large failures and results", By(&[SIZES])),
    row("C104", "3 workers, short-lived, 100 tasks", By(&[SHORT_LIVED])),
    row("C105", "one task a worker, closed at once", By(&[CLOSING])),
    row("C107", "a pool that is never shut down", By(&[NOT_FINISHED])),
    row("C109", "initialiser runs in the worker", By(&[INITIALISER])),
];
