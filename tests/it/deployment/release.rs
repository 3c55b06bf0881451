//! Packages and the release workflow: what they name exists. No test runs the workflow, which needs GitHub.

use std::collections::BTreeSet;

use testkit::process::banklink;

use super::{file, read, run_tool};

/// The source and the destination of each file of the Debian package.
fn packaged() -> Vec<(String, String)> {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[package.metadata.deb]").nth(1).unwrap().split("\n[").next().unwrap();
    let assets = section.lines().filter_map(|line| line.trim().strip_prefix("[\""));
    let quoted = assets.map(|asset| asset.split("\", \"").map(str::to_owned).collect::<Vec<_>>());
    quoted.map(|parts| (parts[0].clone(), parts[1].clone())).collect()
}

#[test]
fn the_debian_package_holds_the_program_every_unit_and_files_that_exist() {
    let packaged = packaged();
    let is_packaged = |path: &str| {
        packaged.iter().any(|(source, _)| match source.split_once('*') {
            Some((before, after)) => path.starts_with(before) && path.ends_with(after),
            None => path == source,
        })
    };
    for (source, _) in packaged.iter().filter(|(source, _)| !source.starts_with("target/")) {
        let directory = source.rsplit_once('/').map_or("", |(directory, _)| directory);
        let exists = if source.contains('*') { file(directory).is_dir() } else { file(source).is_file() };
        assert!(exists, "{source} does not exist");
    }
    for entry in std::fs::read_dir(file("deploy/systemd")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = if name.ends_with(".d") { format!("{name}/10-hardening.conf") } else { name };
        assert!(is_packaged(&format!("deploy/systemd/{path}")), "{path} is not packaged");
    }
    // The scripts of the package, which make systemd read its units.
    for (script, action) in [("postinst", "configure"), ("postrm", "remove")] {
        let path = file("deploy/debian").join(script);
        assert!(std::fs::read_to_string(&path).unwrap().contains("systemctl daemon-reload"), "{script}");
        let output = std::process::Command::new(&path).arg(action).env("PATH", "/nowhere").output().unwrap();
        let runs_systemd = std::path::Path::new("/run/systemd/system").is_dir();
        assert!(output.status.success() || runs_systemd, "{script}: {output:?}");
    }
    let destinations: BTreeSet<&str> = packaged.iter().map(|(_, destination)| destination.as_str()).collect();
    // Where the units name the program, and where systemd looks for units of packages.
    assert!(destinations.is_superset(&BTreeSet::from(["usr/bin/", "usr/lib/systemd/system/", "usr/share/man/man1/"])));
}

#[tokio::test]
async fn the_workflows_are_valid_and_their_commands_are_shell() {
    let workflows = [".github/workflows/ci.yml", ".github/workflows/release.yml"];
    let schema = ["--builtin-schema", "vendor.github-workflows"];
    run_tool("check-jsonschema", &[&schema[..], &workflows].concat()).await;
    for workflow in workflows {
        let Some(documents) = super::yaml_documents(&read(workflow)).await else { return };
        for (name, job) in documents[0]["jobs"].as_object().unwrap() {
            // A job that calls a workflow has that one's deadlines.
            if job["uses"].is_string() {
                continue;
            }
            assert!(job["timeout-minutes"].is_u64(), "{workflow}: {name} has no deadline");
            for script in job["steps"].as_array().unwrap().iter().filter_map(|step| step["run"].as_str()) {
                // GitHub replaces these before the shell runs.
                let script = script.replace("${{", "").replace("}}", "");
                let bash = std::process::Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
                assert!(bash.status.success(), "{workflow}: {name}: {}", String::from_utf8_lossy(&bash.stderr));
                let negated = script.lines().find(|line| line.trim_start().starts_with('!'));
                assert_eq!(negated, None, "{workflow}: {name}: `bash -e` ignores the failure of such a line");
            }
        }
    }
}

#[tokio::test]
async fn the_versions_of_package_and_chart_are_one_and_the_site_has_pages_that_exist() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("deploy/helm/Chart.yaml");
    assert!(chart.contains(&format!("\nversion: {version}\nappVersion: {version}\n")), "{chart}");
    let printed = banklink(&["--version"]).run().await.stdout;
    assert_eq!(printed.trim(), format!("banklink {version}"));
    let summary = read("docs/SUMMARY.md");
    let pages: Vec<&str> = summary.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(pages.len() >= 10, "{summary}");
    for page in pages {
        assert!(file("docs").join(page).is_file(), "{page} does not exist");
    }
}

/// Every link of a page leads to another page or to a file that is copied with it: `deploy/book` refuses others.
#[test]
fn no_link_of_the_site_leaves_it() {
    let copied = std::process::Command::new(file("deploy/book")).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let source = file("target/book-source");
    let summary = std::fs::read_to_string(source.join("SUMMARY.md")).unwrap();
    for page in summary.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        let text = std::fs::read_to_string(source.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        // Headings, as GitHub and mdBook make anchors of them.
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let Some((path, anchor)) = link.split_once('#').filter(|_| !link.contains(':')) else { continue };
            let target =
                if path.is_empty() { source.join(page) } else { source.join(page).parent().unwrap().join(path) };
            let target = std::fs::read_to_string(&target).unwrap_or_else(|error| panic!("{page}: {link}: {error}"));
            let is_there = target.lines().filter(|line| line.starts_with('#')).any(|line| anchor_of(line) == anchor);
            assert!(is_there, "{page}: there is no heading for {link}");
        }
    }
}

/// The anchor that GitHub and mdBook make of a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    text.chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[tokio::test]
async fn a_release_is_made_of_what_was_checked_and_built() {
    let Some(release) = super::yaml_documents(&read(".github/workflows/release.yml")).await else { return };
    let jobs = release[0]["jobs"].as_object().unwrap();
    assert_eq!(jobs["checks"]["uses"], "./.github/workflows/ci.yml");
    assert_eq!(jobs["draft"]["needs"], "checks");
    let text = read(".github/workflows/release.yml");
    for job in ["binaries", "debian", "image"] {
        assert_eq!(jobs[job]["needs"], "draft");
        assert_eq!(
            jobs[job]["outputs"].as_object().unwrap().len(),
            2,
            "{job} hands a digest over for each architecture"
        );
        assert!(text.contains(&format!("needs.{job}.outputs.")), "the digests of {job} are compared with nothing");
    }
    for dockerfile in ["deploy/Dockerfile", ".github/workflows/release.yml"] {
        assert!(read(dockerfile).contains("cargo auditable build --release --locked --bin banklink"), "{dockerfile}");
    }
}
