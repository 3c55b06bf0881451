//! The stack of threads that libraries start.
//!
//! lapin 4.12.3 reads nested header tables by recursion on a thread of its own, whose stack holds about a thousand levels. A
//! message within RabbitMQ's limit on frames can nest 20,000, so anyone who may publish could abort the process. No upstream
//! issue was found; remove this module once lapin limits the depth.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Rust's standard library reads the size of a thread's stack from this variable, in bytes, when the process starts its first
/// thread. It is a limit on address space: memory is used only as deep as the stack gets.
const VARIABLE: &str = "RUST_MIN_STACK";
/// Enough for the deepest table that fits into a frame of 128 KiB.
const BYTES: &str = "67108864";

/// Replaces the process by itself with `RUST_MIN_STACK` set, unless it is set. Call it before anything else: changing the environment
/// of a running process is not safe. If the program cannot be started again, it goes on with the default.
pub fn ensure_size() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        let _error = Command::new(program).arg0(name).args(arguments).env(VARIABLE, BYTES).exec();
    }
}
