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
            assert!(job["timeout-minutes"].is_u64(), "{workflow}: {name} has no deadline");
            for script in job["steps"].as_array().unwrap().iter().filter_map(|step| step["run"].as_str()) {
                // GitHub replaces these before the shell runs.
                let script = script.replace("${{", "").replace("}}", "");
                let bash = std::process::Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
                assert!(bash.status.success(), "{workflow}: {name}: {}", String::from_utf8_lossy(&bash.stderr));
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
    assert!(pages.len() >= 4, "{summary}");
    for page in pages {
        assert!(file("docs").join(page).is_file(), "{page} does not exist");
    }
}
