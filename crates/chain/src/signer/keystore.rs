//! Keystores.
