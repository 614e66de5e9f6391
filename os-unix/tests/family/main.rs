//! A family of real processes: killed at every point of its protocols, stopped, killed at random, and audited.
//!
//! `harness = false`: the cases fork, so this process must have one thread. Each case runs in a process of its own, with
//! an alarm as watchdog, which a stuck case does not survive.

mod kit;
mod life;
mod random;
mod start;

fn main() {
    if start::is_joiner() {
        start::run_joiner();
    }
    let cases: &[(&str, fn())] = &[
        ("forked_child_is_a_process_of_its_own", life::forked_child_is_a_process_of_its_own),
        ("process_after_exec_joins_by_the_arena", start::process_after_exec_joins_by_the_arena),
        ("what_is_no_family_is_refused", start::what_is_no_family_is_refused),
        ("clean_thread_end_is_no_death", life::clean_thread_end_is_no_death),
        (
            "thread_past_its_destructors_proves_no_death",
            life::thread_past_its_destructors_proves_no_death,
        ),
        ("killed_process_is_dead_at_once", life::killed_process_is_dead_at_once),
        ("stopped_process_is_not_dead", life::stopped_process_is_not_dead),
        (
            "pid_of_another_namespace_proves_no_death",
            life::pid_of_another_namespace_proves_no_death,
        ),
        ("sleeper_learns_of_a_death", life::sleeper_learns_of_a_death),
        (
            "sleeper_learns_of_a_death_amid_the_taking_of_a_lane",
            life::sleeper_learns_of_a_death_amid_the_taking_of_a_lane,
        ),
        ("left_process_is_dead_and_its_objects_go", life::left_process_is_dead_and_its_objects_go),
        ("object_named_by_a_message_stays", life::object_named_by_a_message_stays),
        ("last_handle_gives_the_pages_back", life::last_handle_gives_the_pages_back),
        ("exhausted_memory_is_an_error", life::exhausted_memory_is_an_error),
        ("kill_at_every_point_leaks_nothing", life::kill_at_every_point_leaks_nothing),
        ("death_between_mark_and_notice_is_told", life::death_between_mark_and_notice_is_told),
        ("stop_outside_the_lock_blocks_nobody", life::stop_outside_the_lock_blocks_nobody),
        ("member_without_the_barrier_is_refused", start::member_without_the_barrier_is_refused),
        ("deaths_are_found_without_pidfds", start::deaths_are_found_without_pidfds),
        ("sleeper_learns_of_a_death_without_waitv", start::sleeper_learns_of_a_death_without_waitv),
        ("random_kills_leak_nothing", random::random_kills_leak_nothing),
    ];
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut failed = 0;
    let mut ran = 0;
    for (name, case) in cases {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        ran += 1;
        let status = kit::run_case(*case);
        let verdict = if status == 0 { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict}");
        failed += usize::from(status != 0);
    }
    println!("\nfamily: {} passed, {failed} failed", ran - failed);
    assert!(ran > 0, "no case has that name");
    std::process::exit(i32::from(failed != 0));
}
