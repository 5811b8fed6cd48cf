//! Rules of the house that no compiler checks: each test is one of them, and names every place that breaks it.

mod architecture;
mod sources;
mod tree;
