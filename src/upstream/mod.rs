//! Connections to origins.
