//! The URLs of Lean's API.

use chrono::{DateTime, Days, SecondsFormat, Utc};
use url::Url;

use super::Query;
use crate::domain::listed::Source;

/// Reads a base URL. It must be `https`, or `http` on a loopback address, because requests carry secrets; without credentials.
#[must_use]
pub fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_loopback = match url.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    let is_private = url.scheme() == "https" || (url.scheme() == "http" && is_loopback);
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    (is_private && is_plain).then_some(url)
}

/// Where access tokens are issued.
pub(super) fn token(auth: &Url) -> Url {
    joined(auth, "oauth2/token")
}

/// A page of what `query` lists.
///
/// Lean leaves out what was created exactly at either end, and may know times only in whole seconds. So a second more is asked for at
/// each end; of entities, which Lean selects by whole days, a day more.
pub(super) fn page(api: &Url, query: &Query, number: u64, size: u64) -> Url {
    let (number, size) = (number.to_string(), size.to_string());
    let (path, names, from, to) = match query.source {
        Source::Events => {
            let names = ["page", "size", "from", "to"];
            ("events/v1", names, seconds_after(query.from, -1), seconds_after(query.to, 1))
        }
        Source::Entities => {
            let day = |day: Option<DateTime<Utc>>| day.unwrap_or_default().format("%Y-%m-%d").to_string();
            let (from, to) = (query.from.checked_sub_days(Days::new(1)), query.to.checked_add_days(Days::new(1)));
            let names = ["page_number", "page_size", "start_date", "end_date"];
            ("customers/v1/entities", names, day(from), day(to))
        }
    };
    let mut url = joined(api, path);
    url.query_pairs_mut().extend_pairs(names.into_iter().zip([number, size, from, to]));
    url
}

/// The second of `time`, moved by `offset` seconds, in RFC 3339.
fn seconds_after(time: DateTime<Utc>, offset: i64) -> String {
    let second = DateTime::from_timestamp(time.timestamp() + offset, 0).unwrap_or(time);
    second.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn joined(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}/{path}"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_sent_in_clear_only_over_loopback() {
        for accepted in [
            "https://api.leantech.me",
            "https://h/prefix/",
            "http://127.0.0.1:9470",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            assert!(base_url(accepted).is_some(), "{accepted}");
        }
        for refused in [
            "http://api.leantech.me",
            "http://10.0.0.1",
            "ftp://localhost",
            "https://u:p@h",
            "https://h/?a=b",
            "lean",
            "",
        ] {
            assert!(base_url(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn a_path_is_appended_to_that_of_the_base() {
        for (base, expected) in [
            ("https://h", "https://h/events/v1"),
            ("https://h/", "https://h/events/v1"),
            ("https://h/lean/", "https://h/lean/events/v1"),
        ] {
            assert_eq!(joined(&Url::parse(base).unwrap(), "events/v1").as_str(), expected);
        }
    }

    #[test]
    fn a_little_more_is_asked_for_than_the_time_between_both_ends() {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let (from, to) = (time("2026-01-01T00:00:00.25Z"), time("2026-03-31T23:59:59.75Z"));
        let url = |source| page(&Url::parse("https://h").unwrap(), &Query { source, from, to }, 3, 100).to_string();
        let events = "https://h/events/v1?page=3&size=100&from=2025-12-31T23%3A59%3A59Z&to=2026-04-01T00%3A00%3A00Z";
        assert_eq!(url(Source::Events), events);
        let days = "start_date=2025-12-31&end_date=2026-04-01";
        assert_eq!(
            url(Source::Entities),
            format!("https://h/customers/v1/entities?page_number=3&page_size=100&{days}")
        );
    }
}
