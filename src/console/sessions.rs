//! Who is logged in, in memory: a restart asks everyone to log in again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::rights::Role;

/// Maximum number of sessions; the one that was idle longest gives way.
const MAX_SESSIONS: usize = 1024;
/// A session ends when it was not used for this long.
const MAX_IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends this long after the login.
const MAX_AGE: Duration = Duration::from_hours(12);

/// Whether a request counts as use of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A person asked for it.
    Active,
    /// The page keeps itself up to date.
    Passive,
}

/// The digest of a session's id. The time of a look-up by digest says nothing about an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionKey([u8; 32]);

impl SessionKey {
    fn of(id: &str) -> Self {
        Self(Sha256::digest(id.as_bytes()).into())
    }
}

/// The open sessions.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionKey, Session>>);

struct Session {
    user: String,
    role: Role,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_open(&self, now: Instant) -> bool {
        now.duration_since(self.began) < MAX_AGE && now.duration_since(self.used) < MAX_IDLE
    }
}

impl Sessions {
    /// Begins a session and returns its id, of 244 random bits.
    pub(super) fn begin(&self, user: &str, role: Role) -> String {
        let (id, now) = (format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()), Instant::now());
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.is_open(now));
        if sessions.len() >= MAX_SESSIONS {
            let idlest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id);
            idlest.and_then(|idlest| sessions.remove(&idlest));
        }
        sessions.insert(SessionKey::of(&id), Session { user: user.to_owned(), role, began: now, used: now });
        id
    }

    /// Who has the session `id`, if it is open.
    pub(super) fn find(&self, id: &str, usage: Use) -> Option<(SessionKey, String, Role)> {
        let (mut sessions, now, key) = (self.lock(), Instant::now(), SessionKey::of(id));
        let session = sessions.get_mut(&key).filter(|session| session.is_open(now))?;
        if usage == Use::Active {
            session.used = now;
        }
        Some((key, session.user.clone(), session.role))
    }

    /// Whether the session is open.
    pub(super) fn is_open(&self, key: SessionKey) -> bool {
        self.lock().get(&key).is_some_and(|session| session.is_open(Instant::now()))
    }

    /// Ends the session `id`.
    pub(super) fn end(&self, id: &str) {
        self.lock().remove(&SessionKey::of(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_logout_by_idleness_and_by_age() {
        let sessions = Sessions::default();
        let ids = ["anna", "ben", "carla"].map(|user| sessions.begin(user, Role::Viewer));
        let (key, user, role) = sessions.find(&ids[0], Use::Active).unwrap();
        assert_eq!((user.as_str(), role, sessions.is_open(key)), ("anna", Role::Viewer, true));
        assert_eq!(sessions.find("guessed", Use::Active), None);
        sessions.end(&ids[0]);
        assert!(!sessions.is_open(key));
        let ago = |age| Instant::now().checked_sub(age).unwrap();
        sessions.lock().get_mut(&SessionKey::of(&ids[1])).unwrap().used = ago(MAX_IDLE);
        sessions.lock().get_mut(&SessionKey::of(&ids[2])).unwrap().began = ago(MAX_AGE);
        assert!(ids.iter().all(|id| sessions.find(id, Use::Active).is_none()));
    }

    #[test]
    fn the_number_of_sessions_is_bounded_and_passive_use_does_not_prolong_one() {
        let sessions = Sessions::default();
        let first = sessions.begin("first", Role::Viewer);
        let before = sessions.lock()[&SessionKey::of(&first)].used;
        sessions.find(&first, Use::Passive);
        assert_eq!(sessions.lock()[&SessionKey::of(&first)].used, before);
        for _ in 0..MAX_SESSIONS {
            sessions.begin("other", Role::Viewer);
        }
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
        assert_eq!(sessions.find(&first, Use::Active), None);
    }
}
