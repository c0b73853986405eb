//! What every layer owes: one test a layer, and one wrong layer a rule to show that the harness sees it.
//!
//! To register a layer, add a test to [`layers`], and a line to [`limited`].

mod faulty;
mod layers;
mod limited;
mod resilience;
mod samples;
