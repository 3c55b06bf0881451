//! Entry point of the `banklink` binary. Everything else is in the library.

fn main() -> std::process::ExitCode {
    banklink::stack::ensure_size();
    banklink::cli::main()
}
