//! Our side of every question.

pub mod ring;
