//! What checks offspring's protocols: models, interleavings, properties and kills.
//!
//! `cargo verify` lists the stages; each is a module with a `stage(&Settings, &Progress) -> Report`. Built with
//! `--cfg offspring_loom` there is one stage, `loom`, and core's atomics are loom's.
//!
//! `corrupt`, `lin` and `step` fork or trace processes, so they are stages on Unix alone.

#[cfg(not(offspring_loom))]
pub mod again;
pub mod commit;
#[cfg(not(offspring_loom))]
pub mod conformance;
#[cfg(all(unix, not(offspring_loom)))]
pub mod corrupt;
#[cfg(all(unix, not(offspring_loom)))]
pub mod cpython;
#[cfg(offspring_loom)]
pub mod explore;
pub mod fake;
#[cfg(all(unix, not(offspring_loom)))]
pub mod faults;
#[cfg(not(offspring_loom))]
pub mod kill;
#[cfg(all(unix, not(offspring_loom)))]
pub mod lin;
#[cfg(not(offspring_loom))]
pub mod model;
#[cfg(not(offspring_loom))]
pub mod mutants;
#[cfg(not(offspring_loom))]
pub mod parity;
#[cfg(not(offspring_loom))]
pub mod props;
pub mod report;
#[cfg(not(offspring_loom))]
pub mod restart;
#[cfg(not(offspring_loom))]
pub mod sanitize;
#[cfg(all(unix, not(offspring_loom)))]
pub mod step;
#[cfg(not(offspring_loom))]
pub mod summary;
