//! Why a command fails, and so its exit status.

use super::flags::Problems;

/// Why a command stopped early.
pub(super) enum CommandError {
    /// Wrong usage or a wrong setting: exit status 2.
    Usage(String),
    /// Any other error: exit status 1.
    Failed(anyhow::Error),
    /// As [`CommandError::Failed`], but the command has already printed the cause.
    AlreadyReported,
    /// EPIPE on stdout: treated as success.
    BrokenPipe,
}

impl<E: Into<anyhow::Error>> From<E> for CommandError {
    fn from(error: E) -> Self {
        match error.into().downcast::<Problems>() {
            Ok(problems) => Self::Usage(problems.to_string()),
            Err(error) => Self::Failed(error),
        }
    }
}
