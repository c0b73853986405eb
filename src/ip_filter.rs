//! Allow and deny by CIDR.
