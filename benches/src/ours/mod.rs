//! Our side of every question.

pub mod facade;
pub mod ring;
