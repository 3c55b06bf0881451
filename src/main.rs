//! Entry point of the `banklink` binary. Everything else is in the library.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> std::process::ExitCode {
    banklink::stack::ensure_size();
    banklink::cli::main()
}
