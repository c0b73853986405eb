//! Who the client is.
