//! A connection, or a transaction, each statement of which has a deadline: whoever asks the database gets an answer, or is
//! told that there is none.

use std::time::Duration;

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};

/// How long one statement may take. PostgreSQL itself ends what takes almost as long, and is first.
const DEADLINE: Duration = super::DEADLINE;
/// How the failure of a statement without an answer is told from others.
pub(super) const NO_ANSWER: &str = "no answer in time";

/// Runs statements, and waits for none longer than [`DEADLINE`].
#[derive(Clone)]
pub(super) struct Bounded<C>(pub(super) C);

#[async_trait]
impl<C: ConnectionTrait> ConnectionTrait for Bounded<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        answered(self.0.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        answered(self.0.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        answered(self.0.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        answered(self.0.query_all_raw(statement)).await
    }
}

/// The answer, or that there was none.
pub(super) async fn answered<T>(answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    let no_answer = |_| DbErr::Conn(RuntimeErr::Internal(NO_ANSWER.to_owned()));
    tokio::time::timeout(DEADLINE, answer).await.map_err(no_answer)?
}
