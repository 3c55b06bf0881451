//! The command and the role, as processes.
